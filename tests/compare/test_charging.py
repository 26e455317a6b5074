"""What a method is charged and finds does not depend on who shares its evaluation log."""

from collections import Counter

import pytest

from rlprompt.compare.config import Method

METHODS = ("random", "hill-climb", "genetic", "random+racing")


def told(record):
    """Everything that a run came to, but for rewards and the time it took."""
    return {
        "prompt": record["prompt"],
        "ended": record["ended"],
        "ledger": {
            k: v for k, v in record["ledger"].items() if not k.endswith(("seconds", "tokens"))
        },
        "trace": [(t["forwards"], t["text"]) for t in record["trace"]],
        "finalists": [f["text"] for f in record["finalists"]],
    }


def rewards(record):
    return [record["reward"], record["train_reward"], *(t["reward"] for t in record["trace"])]


def assert_same(one, other):
    """A score's last digits depend on the prompts that were scored in the same batch."""
    assert told(one) == told(other)
    assert rewards(one) == pytest.approx(rewards(other), abs=1e-5)


def test_alone_or_among_others_in_any_order(comparison, another):
    comparison.start(agents=METHODS)
    backwards = another("backwards")
    backwards.start(agents=METHODS[::-1])
    for method in METHODS:
        alone = another(f"alone-{method}")
        alone.start(agents=(method,))
        assert_same(comparison.record(method), alone.record(method))
        assert_same(backwards.record(method), alone.record(method))


def test_who_asks_for_scores_that_others_paid_for_pays_the_same(comparison, doubles):
    same = dict.fromkeys(("one", "two"), Method("doubles:Counted"))
    comparison.start(agents=("one", "two"), methods=same)
    one, two = map(comparison.record, ("one", "two"))
    assert len(doubles.CALLS) == 2
    assert two["ledger"]["forwards"] == one["ledger"]["forwards"] > 0
    assert told(two) == told(one)
    assert rewards(two) == rewards(one)
    assert max(Counter(comparison.scored()).values()) == 1


def test_budgets_are_each_their_own(comparison, another):
    comparison.start(budgets=(800, 400))
    alone = another("alone")
    alone.start(budgets=(400,))
    for method in ("random", "genetic"):
        assert_same(comparison.record(method), alone.record(method))
        assert comparison.record(method, 800)["ledger"]["forwards"] > 720


def test_two_processes_come_to_the_same(comparison, another):
    """The workers are spawned: they load everything anew."""
    comparison.start(agents=("random",), split_seeds=(0, 1))
    both = another("two-processes")
    both.frozen = None
    result = both.start(agents=("random",), split_seeds=(0, 1), jobs=2)
    assert result["failures"] == []
    assert result["process"]["jobs"] == 2
    for split_seed in (0, 1):
        one, two = (each.record("random", split_seed=split_seed) for each in (comparison, both))
        assert told(two) == told(one)
        assert rewards(two) == rewards(one)
        assert two["origin"] == one["origin"]
        one, two = (each.tested(split_seed)["selected"] for each in (comparison, both))
        assert [row["correct"] for row in two.values()] == [row["correct"] for row in one.values()]
    assert sum(" on train and dev: " in line for line in both.lines) == 2
