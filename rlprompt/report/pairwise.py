"""Tests between all pairs of methods within a task and budget."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rlprompt.core.trials import Trial
from rlprompt.report.cells import METRICS, Metric, by_split, sort_cells
from rlprompt.report.statistics import (
    FLIPS,
    Difference,
    Interval,
    holm,
    is_significant,
    pairwise,
)


@dataclass(frozen=True)
class PairTest:
    """One paired test.

    Attributes:
        task: name of the task.
        budget: LM forwards of the searches; fixed prompts stand beside each budget.
        metric: 'log_likelihood' (nats) or 'accuracy'.
        one: the method whose score is greater.
        other: the method it is compared with.
        difference: ``one - other``, its interval, its p-value before adjustment.
        adjusted_p: by Holm's method within the family.
        family: number of tests in the family: all pairs of all tasks of a budget, for one metric.
        significant: adjusted p below 0.05 and the interval, which is over splits too, without 0.
    """

    task: str
    budget: int
    metric: Metric
    one: str
    other: str
    difference: Difference
    adjusted_p: float = 1.0
    family: int = 1
    significant: bool = False

    def seen_by(self, method: str) -> "PairTest":
        """Returns the same test as ``method`` sees it: the difference is its gain."""
        if method == self.one:
            return self
        spread = self.difference.interval
        turned = Interval(-spread.value, -spread.high, -spread.low, spread.splits)
        return replace(
            self,
            one=self.other,
            other=self.one,
            difference=replace(self.difference, interval=turned),
        )


def all_tests(
    trials: Sequence[Trial], metrics: Sequence[Metric] = METRICS, *, seed: int = 0
) -> list[PairTest]:
    """Tests all pairs of methods of each task and budget, fixed prompts included.

    Each pair is compared on the splits that both have; without any, it is left out. The number of
    sign flips grows with the family: the smallest p is 1 / (flips + 1), and Holm's method
    multiplies it by the size of the family, so 10,000 flips could show nothing in 500 tests.

    Raises:
        RunError: the trials cannot be compared.
    """
    cells = sort_cells(trials)
    tests: list[PairTest] = []
    for metric in metrics:
        for budget in sorted({budget for _, budget in cells}):
            tasks = {
                task: {name: by_split(runs, metric) for name, runs in methods.items()}
                for (task, its), methods in cells.items()
                if its == budget
            }
            size = sum(len(scores) * (len(scores) - 1) // 2 for scores in tasks.values())
            flips = max(FLIPS, 100 * size)
            family = [
                PairTest(task, budget, metric, one, other, difference)
                for task, scores in tasks.items()
                for (one, other), difference in pairwise(scores, seed=seed, flips=flips).items()
            ]
            tests += _adjust(family)
    return tests


def _adjust(family: Sequence[PairTest]) -> list[PairTest]:
    """Fills in what depends on the family; puts the method with the greater score first."""
    adjusted = holm([test.difference.p for test in family])
    return [
        replace(
            test.seen_by(test.one if test.difference.interval.value >= 0 else test.other),
            adjusted_p=float(p),
            family=len(family),
            significant=is_significant(float(p), test.difference.interval),
        )
        for test, p in zip(family, adjusted, strict=True)
    ]
