"""What settled prompts did on test: confusion, calibration curve, wins and losses."""

from collections.abc import Sequence

import numpy as np

from rlprompt.core.evaluation import Evaluation, FloatArray, IntArray, correct, gold_logprobs
from rlprompt.explain.records import Bin, Case, Duel, OnTest, Reliability
from rlprompt.run.transfer_cells import difference
from rlprompt.tasks.examples import Example

BINS = 10


def on_test(text: str, evaluation: Evaluation) -> OnTest:
    """Describes one prompt's scores on test."""
    calibrated, raw, gold = evaluation.calibrated, evaluation.logprobs, evaluation.gold
    return OnTest(
        text=text,
        confusion=confusion(calibrated, gold),
        confusion_uncalibrated=confusion(raw, gold),
        reliability=reliability(calibrated, gold),
        reliability_uncalibrated=reliability(raw, gold),
    )


def confusion(logprobs: FloatArray, gold: IntArray) -> tuple[tuple[int, ...], ...]:
    """Counts examples by right label (rows) and likeliest label (columns)."""
    size = logprobs.shape[1]
    counts = np.zeros((size, size), np.int64)
    np.add.at(counts, (gold, logprobs.argmax(axis=1)), 1)
    return tuple(tuple(map(int, row)) for row in counts)


def reliability(logprobs: FloatArray, gold: IntArray) -> Reliability:
    """Returns a calibration curve in bins of equal width, and its error.

    Expected calibration error as in Guo et al. 2017 (arXiv:1706.04599, eq. 3).
    """
    confidence = np.exp(logprobs.max(axis=1))
    right = correct(logprobs, gold)
    at = np.clip((confidence * BINS).astype(int), 0, BINS - 1)
    bins = []
    for n in range(BINS):
        here = at == n
        some = bool(here.any())
        bins.append(
            Bin(
                low=n / BINS,
                high=(n + 1) / BINS,
                count=int(here.sum()),
                confidence=float(confidence[here].mean()) if some else 0.0,
                accuracy=float(right[here].mean()) if some else 0.0,
            )
        )
    error = sum(each.count * abs(each.accuracy - each.confidence) for each in bins) / len(gold)
    return Reliability(tuple(bins), float(error))


def duel(
    learned: Evaluation,
    manual: Evaluation,
    examples: Sequence[Example],
    labels: Sequence[str],
    count: int,
) -> Duel:
    """Compares the learned prompt with the manual one, example by example.

    Args:
        learned: on test.
        manual: on the same examples.
        examples: these.
        labels: names of the labels.
        count: examples to show at each end.
    """
    one, other = learned.calibrated, manual.calibrated
    gain = gold_logprobs(one, learned.gold) - gold_logprobs(other, manual.gold)
    right, wrong = correct(one, learned.gold) == 1, correct(other, manual.gold) == 0
    order = np.argsort(-gain, kind="stable")

    def case(n: int) -> Case:
        example = examples[n]
        return Case(
            index=n,
            fields=dict(example.fields),
            label=labels[example.label],
            gain=float(gain[n]),
            learned=_probabilities(one[n], labels),
            manual=_probabilities(other[n], labels),
        )

    return Duel(
        margin=difference(learned, manual),
        both=int((right & ~wrong).sum()),
        only_learned=int((right & wrong).sum()),
        only_manual=int((~right & ~wrong).sum()),
        neither=int((~right & wrong).sum()),
        wins=tuple(case(int(n)) for n in order[:count] if gain[n] > 0),
        losses=tuple(case(int(n)) for n in order[::-1][:count] if gain[n] < 0),
    )


def _probabilities(logprobs: FloatArray, labels: Sequence[str]) -> dict[str, float]:
    return dict(zip(labels, map(float, np.exp(logprobs)), strict=True))
