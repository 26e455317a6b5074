"""Prompts made of the learned one: a token less, one alone, other orders, near words."""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from rlprompt.core.evaluation import FloatArray
from rlprompt.core.prompt import Prompt

#: Tries for each order that is asked for, before a sample is taken as it is.
TRIES = 20


def kept(prompt: Prompt, sizes: Sequence[int], positions: Sequence[int]) -> Prompt:
    """Returns a prompt of some of the tokens, each in the slot where it stood.

    Args:
        prompt: the prompt.
        sizes: tokens of each of the template's slots, see :meth:`Prompt.parts`.
        positions: which tokens stay.

    >>> kept(Prompt((5, 6, 7)), (), [0, 2])
    Prompt(ids=(5, 7), sizes=())
    >>> kept(Prompt((5, 6, 7)), (2, 1), [1, 2]).parts((2, 1))
    ((6,), (7,))
    """
    parts, start = [], 0
    for part in prompt.parts(sizes):
        parts.append([t for n, t in enumerate(part, start) if n in positions])
        start += len(part)
    return Prompt.of(parts, sizes)


def slots(prompt: Prompt, sizes: Sequence[int]) -> list[int]:
    """Returns the slot that each token stands in.

    >>> slots(Prompt((5, 6, 7)), (2, 1))
    [0, 0, 1]
    """
    return [n for n, part in enumerate(prompt.parts(sizes)) for _ in part]


def subsets(size: int) -> list[tuple[int, ...]]:
    """Returns all choices of positions, the smaller ones first.

    >>> subsets(2)
    [(), (0,), (1,), (0, 1)]
    """
    return [each for n in range(size + 1) for each in itertools.combinations(range(size), n)]


def possible_orders(prompt: Prompt) -> int:
    """Returns the number of distinct orders of a prompt's tokens.

    >>> possible_orders(Prompt((5, 5, 7)))
    3
    """
    repeats = math.prod(math.factorial(n) for n in Counter(prompt.ids).values())
    return math.factorial(len(prompt)) // repeats


def other_orders(prompt: Prompt, count: int, seed: int) -> list[Prompt]:
    """Returns the tokens in other orders, each in a slot as full as it was.

    Args:
        prompt: the prompt.
        count: orders at most.
        seed: of the sample, where there are more.

    >>> [each.ids for each in other_orders(Prompt((5, 6)), 10, 0)]
    [(6, 5)]
    """
    if possible_orders(prompt) - 1 <= count:
        orders = dict.fromkeys(itertools.permutations(prompt.ids))
    else:
        generator = np.random.default_rng(seed)
        orders = dict.fromkeys([prompt.ids])
        for _ in range(TRIES * count):
            if len(orders) > count:
                break
            orders[tuple(map(int, generator.permutation(prompt.ids)))] = None
    return [Prompt(ids, prompt.sizes) for ids in orders if ids != prompt.ids]


def similarities(rows: FloatArray, own: FloatArray) -> FloatArray:
    """Returns the cosines of embedding rows with some of interest, all centred first.

    The rows of an LM share a large common part (Mu & Viswanath 2018, arXiv:1702.01417), which
    would make all words alike.

    Args:
        rows: shape (n, width).
        own: shape (m, width).

    Returns:
        Shape (m, n).
    """
    centre = rows.mean(axis=0)
    left, right = own - centre, rows - centre
    norms = np.linalg.norm(left, axis=1)[:, None] * np.linalg.norm(right, axis=1)[None, :]
    products = left @ right.T
    return np.asarray(np.divide(products, norms, out=np.zeros_like(norms), where=norms > 0))


def swapped(prompt: Prompt, position: int, token: int) -> Prompt:
    """Returns the prompt with another token in one place.

    >>> swapped(Prompt((5, 6)), 1, 9)
    Prompt(ids=(5, 9), sizes=())
    """
    ids = (*prompt.ids[:position], token, *prompt.ids[position + 1 :])
    return Prompt(ids, prompt.sizes)


def nearest(
    similarity: FloatArray, count: int, usable: Callable[[int], bool]
) -> Iterator[tuple[int, float]]:
    """Yields the indices of the most similar, the nearest first, that are usable.

    Args:
        similarity: of each candidate, shape (n,).
        count: how many at most.
        usable: whether to take a candidate.
    """
    found = (int(n) for n in np.argsort(-similarity, kind="stable"))
    for n in itertools.islice(filter(usable, found), count):
        yield n, float(similarity[n])
