"""Confusion, calibration curve, wins and losses, against plain counting."""

import numpy as np
import pytest

from rlprompt.core.evaluation import Evaluation, log_softmax
from rlprompt.explain.held_out import BINS, confusion, duel, reliability
from rlprompt.tasks.examples import Example

LABELS = ("bad", "fair", "good")
N = 40


@pytest.fixture
def evaluations():
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 3, N)
    return [
        Evaluation(log_softmax(2 * rng.normal(size=(N, 3))), gold, rng.normal(size=3))
        for _ in range(2)
    ]


def test_the_confusion_matrix_counts_right_labels_in_rows(evaluations):
    one = evaluations[0]
    found = confusion(one.calibrated, one.gold)
    likeliest = one.calibrated.argmax(axis=1)
    for row in range(3):
        for column in range(3):
            count = sum(g == row and p == column for g, p in zip(one.gold, likeliest, strict=True))
            assert found[row][column] == count


def test_the_calibration_curve_and_its_error(evaluations):
    one = evaluations[0]
    found = reliability(one.calibrated, one.gold)
    top = np.exp(one.calibrated).max(axis=1)
    right = one.calibrated.argmax(axis=1) == one.gold
    error = 0.0
    for each in found.bins:
        here = (top >= each.low) & (top < each.high)
        assert each.count == here.sum()
        if each.count:
            assert each.confidence == pytest.approx(top[here].mean())
            assert each.accuracy == pytest.approx(right[here].mean())
            error += here.mean() * abs(right[here].mean() - top[here].mean())
    assert found.ece == pytest.approx(error)
    assert sum(each.count for each in found.bins) == N


def test_certainty_is_in_the_last_bin():
    found = reliability(np.log([[1.0, 1e-300]]), np.array([0]))
    assert [each.count for each in found.bins] == [0] * (BINS - 1) + [1]
    assert found.ece == pytest.approx(0)


def test_wins_and_losses(evaluations):
    one, other = evaluations
    examples = [Example({"text": f"text {n}"}, int(label)) for n, label in enumerate(one.gold)]
    found = duel(one, other, examples, LABELS, 3)
    gains = [one.calibrated[n, g] - other.calibrated[n, g] for n, g in enumerate(one.gold)]
    order = sorted(range(N), key=lambda n: -gains[n])
    assert [case.index for case in found.wins] == order[:3]
    assert [case.index for case in found.losses] == order[::-1][:3]
    for case in (*found.wins, *found.losses):
        assert case.fields == {"text": f"text {case.index}"}
        assert case.label == LABELS[one.gold[case.index]]
        assert case.gain == pytest.approx(gains[case.index])
        assert np.log(case.learned[case.label] / case.manual[case.label]) == pytest.approx(
            case.gain
        )
        assert sum(case.learned.values()) == pytest.approx(1) == sum(case.manual.values())
    counts = (found.both, found.only_learned, found.only_manual, found.neither)
    hits = [e.calibrated.argmax(axis=1) == e.gold for e in evaluations]
    assert counts == (
        (hits[0] & hits[1]).sum(),
        (hits[0] & ~hits[1]).sum(),
        (~hits[0] & hits[1]).sum(),
        (~hits[0] & ~hits[1]).sum(),
    )
    assert found.margin.accuracy.value == pytest.approx((counts[1] - counts[2]) / N)


def test_equal_prompts_neither_win_nor_lose(evaluations):
    one = evaluations[0]
    examples = [Example({"text": str(n)}, int(label)) for n, label in enumerate(one.gold)]
    found = duel(one, one, examples, LABELS, 3)
    assert (found.wins, found.losses, found.only_learned, found.only_manual) == ((), (), 0, 0)
