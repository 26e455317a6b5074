from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from rlprompt.core.prompt import Prompt
from rlprompt.objective.account import Account, Due

IDS = st.lists(st.integers(1, 3), min_size=1, max_size=4).map(tuple)


def run(sequence, free=True):
    """Asks for prompts in turn; returns what each took."""
    account = Account()
    taken = []
    for ids in sequence:
        taken.append(account.due(Prompt(ids), free))
        account.pay(Prompt(ids), free)
    return taken


def test_a_prompt_is_paid_for_once():
    assert run([(1, 2), (1, 2), (3,)]) == [Due.FORWARD, Due.NOTHING, Due.FORWARD]
    assert run([(1, 2), (1, 2)], free=False) == [Due.FORWARD, Due.NOTHING]


def test_prefixes_come_with_a_prompt_where_they_are_free():
    assert run([(1, 2, 3), (1,), (1, 2)]) == [Due.FORWARD, Due.NOTHING, Due.NOTHING]
    assert run([(1, 2, 3), (1,), (1, 2)], free=False) == [Due.FORWARD] * 3


def test_a_forward_goes_on_once():
    assert run([(1,), (1, 2), (1, 3)]) == [Due.FORWARD, Due.CONTINUATION, Due.FORWARD]
    assert run([(1,), (1, 2)], free=False) == [Due.FORWARD] * 2


def test_a_forward_goes_on_by_one_token_and_from_its_end():
    assert run([(1,), (1, 2, 3)]) == [Due.FORWARD] * 2
    assert run([(1, 2), (1,), (1, 3)]) == [Due.FORWARD, Due.NOTHING, Due.FORWARD]


def test_the_empty_prompt_is_a_beginning_too():
    assert run([(), (), (1,), (2,)]) == [
        Due.FORWARD,
        Due.NOTHING,
        Due.CONTINUATION,
        Due.FORWARD,
    ]
    assert run([(1,), ()]) == [Due.FORWARD, Due.FORWARD]


def test_to_ask_takes_nothing():
    account = Account()
    account.pay(Prompt((1,)), True)
    assert {account.due(Prompt((1, 2)), True) for _ in range(3)} == {Due.CONTINUATION}


@given(IDS)
def test_an_episode_takes_one_forward_by_steps_as_at_once(ids):
    steps = [ids[: n + 1] for n in range(len(ids))]
    assert all(len(b) == len(a) + 1 for a, b in pairwise(steps))
    assert run(steps).count(Due.FORWARD) == 1
    assert run(steps[::-1]).count(Due.FORWARD) == 1


@given(st.lists(IDS, max_size=12))
def test_what_is_taken_does_not_depend_on_repetition(sequence):
    once = [*dict.fromkeys(sequence)]
    assert run(sequence + sequence).count(Due.FORWARD) == run(once).count(Due.FORWARD)
