import pytest

from rlprompt.core.archive import Archive, Entry
from rlprompt.core.errors import BudgetExhausted, ConfigError, RLPromptError, SearchOver
from rlprompt.core.ledger import Budget, Ledger
from rlprompt.core.prompt import Prompt

A, B, C, D = (Prompt((n,)) for n in range(4))


def _archive(*entries):
    archive = Archive()
    for n, (prompt, reward) in enumerate(entries):
        archive.add(prompt, reward, found_at=10 * n)
    return archive


def test_an_empty_archive_has_no_best():
    archive = Archive()
    assert archive.best is None
    assert archive.trace == []
    assert archive.top(3) == []
    assert len(archive) == 0


def test_the_best_comes_first_and_the_older_of_equals():
    archive = _archive((A, 0.5), (B, 0.9), (C, 0.5), (D, 0.9))
    assert archive.best == Entry(B, 0.9, 10)
    assert [e.prompt for e in archive.top(9)] == [B, D, A, C]
    assert [e.prompt for e in archive.top(2)] == [B, D]
    assert archive.top(0) == []


def test_add_says_whether_a_prompt_is_the_best_so_far():
    archive = Archive()
    assert archive.add(A, -1.0, 1)
    assert not archive.add(B, -1.0, 2)
    assert not archive.add(C, -2.0, 3)
    assert archive.add(D, -0.5, 4)


def test_what_is_in_the_archive_never_changes():
    archive = _archive((A, 0.5))
    assert not archive.add(A, 0.9, 99)
    assert archive.best == Entry(A, 0.5, 0)
    assert A in archive
    assert B not in archive
    with pytest.raises(AttributeError):
        archive.best.reward = 1.0


def test_the_trace_is_each_improvement_and_a_copy():
    archive = _archive((A, 0.5), (B, 0.4), (C, 0.6), (D, 0.6))
    assert [(e.prompt, e.found_at) for e in archive.trace] == [(A, 0), (C, 20)]
    archive.trace.clear()
    archive.top(9).clear()
    assert len(archive.trace) == 2
    assert len(archive) == 4


def test_prompts_are_values():
    assert Prompt((1, 2)) == Prompt((1, 2))
    assert len({Prompt((1, 2)), Prompt((1, 2)), Prompt()}) == 2
    assert Prompt() < Prompt((1,)) < Prompt((1, 2))
    assert len(Prompt((1, 2))) == 2
    assert not Prompt()
    assert Prompt().prefixes() == []


def test_a_ledger_charges_up_to_the_budget_and_not_beyond():
    ledger, budget = Ledger(), Budget(10)
    ledger.charge(6, budget)
    with pytest.raises(BudgetExhausted, match="5 LM forwards do not fit: 6 of 10 are spent"):
        ledger.charge(5, budget)
    assert ledger.forwards == 6
    ledger.charge(4, budget)
    assert ledger.forwards == 10


def test_a_call_is_counted_once():
    ledger, one, other = Ledger(), object(), object()
    for call in (one, other, one):
        ledger.count(call, tokens=7, seconds=0.5)
    assert (ledger.tokens, ledger.seconds) == (14, 1.0)


@pytest.mark.parametrize("forwards", [0, -1])
def test_a_budget_that_buys_nothing_is_refused(forwards):
    with pytest.raises(ConfigError, match="buys nothing"):
        Budget(forwards)


def test_one_except_catches_the_end_of_a_search_and_all_is_one_base():
    assert issubclass(BudgetExhausted, SearchOver)
    assert issubclass(SearchOver, RLPromptError)
