"""Prompts made of a prompt: which there are, and in which slots their tokens stand."""

import itertools

import numpy as np
import pytest

from rlprompt.core.prompt import Prompt
from rlprompt.explain.derived import (
    kept,
    nearest,
    other_orders,
    possible_orders,
    similarities,
    swapped,
)


@pytest.mark.parametrize("positions", [*itertools.combinations(range(4), 2)])
def test_tokens_stay_in_their_slots(positions):
    sizes = (2, 1, 1)
    prompt = Prompt((5, 6, 7, 8))
    slots = [0, 0, 1, 2]
    left = kept(prompt, sizes, positions).parts(sizes)
    for n, token in enumerate(prompt.ids):
        assert (token in left[slots[n]]) == (n in positions)
    assert sum(map(len, left)) == 2


def test_all_orders_are_found_once_and_the_own_one_is_not_among_them():
    prompt = Prompt((5, 6, 6, 7))
    found = other_orders(prompt, 11, seed=0)
    expected = set(itertools.permutations(prompt.ids)) - {prompt.ids}
    assert possible_orders(prompt) == 12 == len(expected) + 1
    assert {each.ids for each in found} == expected
    assert len(found) == 11


def test_a_sample_of_orders_is_that_of_its_seed():
    prompt = Prompt(tuple(range(7)), (3,))
    found = other_orders(prompt, 9, seed=1)
    assert len(set(found)) == 9
    assert all(sorted(p.ids) == [*range(7)] and p.sizes == (3,) for p in found)
    assert prompt not in found
    assert found == other_orders(prompt, 9, seed=1) != other_orders(prompt, 9, seed=2)


def test_similarities_are_cosines_of_centred_rows():
    rows = np.random.default_rng(0).normal(size=(6, 3)) + 5
    found = similarities(rows, rows[:2])
    for m, n in itertools.product(range(2), range(6)):
        one, other = rows[m] - rows.mean(axis=0), rows[n] - rows.mean(axis=0)
        cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
        assert found[m, n] == pytest.approx(cosine)
    order = [n for n, _ in nearest(found[0], 6, lambda n: True)]
    assert order[0] == 0
    assert list(found[0][order]) == sorted(found[0], reverse=True)
    assert [n for n, _ in nearest(found[0], 2, lambda n: n != 0)] == order[1:3]


def test_a_swap_changes_one_token():
    assert swapped(Prompt((5, 6, 7), (2,)), 1, 9) == Prompt((5, 9, 7), (2,))
