"""What a comparison shows, in plain words: does RL win, lose, or can nobody tell?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rlprompt.core.trials import Failure, Trial
from rlprompt.report.cells import (
    Cell,
    Methods,
    Metric,
    by_split,
    is_fixed,
    is_rl,
    is_tuned,
    mean_score,
    overall_ranks,
    sort_cells,
)
from rlprompt.report.pairwise import PairTest, all_tests
from rlprompt.report.statistics import ALPHA

RL = frozenset({"ppo", "soft-q", "categorical"})
FEW_SPLITS = 10

ROLES = ("the strongest control", "the best fixed prompt", "random")
BEST_TEXT = "the best text prompt"


@dataclass(frozen=True)
class Outcome:
    """One RL method, or the best tuned one, against one reference in a cell.

    Attributes:
        cell: task and budget.
        role: which of ``ROLES`` the reference is, or ``BEST_TEXT``.
        reference: name of the reference.
        method: name of the RL method, or of the tuned one.
        test: as the method sees it; None without a common split.
    """

    cell: Cell
    role: str
    reference: str
    method: str
    test: PairTest | None

    @property
    def kind(self) -> Literal["beats", "loses", "tie", "unknown"]:
        """What the test says."""
        if self.test is None:
            return "unknown"
        if not self.test.significant:
            return "tie"
        return "beats" if self.test.difference.interval.value > 0 else "loses"


def verdict(
    trials: Sequence[Trial],
    failures: Sequence[Failure] = (),
    *,
    rl: frozenset[str] = RL,
    metric: Metric = "log_likelihood",
    tests: Sequence[PairTest] | None = None,
) -> list[str]:
    """Returns sentences that say how RL methods did against the references of each task and budget.

    References are the strongest control (a search for text that is not RL), the best fixed prompt,
    and 'random'. The first two are named by their mean test score, after the fact; this is covered,
    for the family of tests that p-values are adjusted for holds all pairs. So are the best tuned
    method and the best text prompt, learned or fixed, which are compared where there are both.

    Args:
        trials: of any number of tasks, budgets and methods.
        failures: runs that ended in an error.
        rl: names of the RL methods; 'ppo' stands for its variants ('ppo+racing') too.
        metric: the score to judge by.
        tests: of :func:`~rlprompt.report.pairwise.all_tests` over these trials, if at hand.

    Raises:
        RunError: there are no trials, or they cannot be compared.
    """
    cells = sort_cells(trials, failures)
    if tests is None:
        tests = all_tests(trials, [metric])
    tests = [test for test in tests if test.metric == metric]
    sentences = [_preface(metric)]
    for budget in sorted({budget for _, budget in cells}):
        here = {cell: methods for cell, methods in cells.items() if cell[1] == budget}
        family = [test for test in tests if test.budget == budget]
        sentences += _of_budget(here, family, rl, metric)
    return sentences + _failed(failures) + _limits(trials)


def _of_budget(
    cells: dict[Cell, Methods], family: Sequence[PairTest], rl: frozenset[str], metric: Metric
) -> list[str]:
    """Returns the sentences about all tasks of one budget."""
    budget = next(iter(cells))[1]
    at = f"at {budget:,} LM forwards" if budget else "without any search"
    sentences: list[str] = []
    outcomes: list[Outcome] = []
    for (task, _), methods in cells.items():
        found, missing = _outcomes((task, budget), methods, family, rl, metric)
        outcomes += found
        for role in ROLES:
            against = [outcome for outcome in found if outcome.role == role]
            if against:
                told = "; ".join(_told(outcome) for outcome in against)
                reference = against[0].reference
                named = f"{reference}, {role}" if reference != role else role
                sentences.append(f"{task} {at}, against {named}: {told}.")
        sentences += [f"{task} {at}: {line}" for line in missing]
        sentences += [
            f"{task} {at}, the best tuned method against {outcome.reference}, {BEST_TEXT}: "
            f"{_told(outcome)}."
            for outcome in _text_and_tuned((task, budget), methods, family, metric)
        ]
    if len(cells) > 1:
        sentences += _over_tasks(cells, outcomes, at)
    return sentences + _nothing_significant(family, outcomes, at)


def _outcomes(
    cell: Cell, methods: Methods, family: Sequence[PairTest], rl: frozenset[str], metric: Metric
) -> tuple[list[Outcome], list[str]]:
    """Returns every RL method against every reference of a cell, and what is not there."""
    best_first = [name for name in _best_first(methods, metric) if not is_tuned(methods[name])]
    searched = [name for name in best_first if not is_fixed(methods[name])]
    ours = [name for name in searched if is_rl(name, rl)]
    if not ours:
        named = f" ({', '.join(sorted(rl))})" if rl else ""
        return [], [f"no RL method{named} has a result, so none is judged."]
    controls = [name for name in searched if not is_rl(name, rl)]
    fixed = [name for name in best_first if is_fixed(methods[name])]
    references = {ROLES[0]: controls[:1], ROLES[1]: fixed[:1]}
    if controls[:1] != ["random"]:  # else said already
        references[ROLES[2]] = [name for name in controls if name == "random"]
    found = [
        _outcome(cell, role, reference, method, family)
        for role, names in references.items()
        for reference in names
        for method in ours
    ]
    return found, [f"{role} is missing." for role, names in references.items() if not names]


def _text_and_tuned(
    cell: Cell, methods: Methods, family: Sequence[PairTest], metric: Metric
) -> list[Outcome]:
    """Returns the best tuned method against the best text prompt, if a cell has both."""
    best_first = _best_first(methods, metric)
    tuned = [name for name in best_first if is_tuned(methods[name])]
    texts = [name for name in best_first if not is_tuned(methods[name])]
    return [
        _outcome(cell, BEST_TEXT, reference, method, family)
        for method, reference in zip(tuned[:1], texts[:1], strict=False)
    ]


def _best_first(methods: Methods, metric: Metric) -> list[str]:
    """Returns the methods that have trials by their mean test score."""
    scores = {name: mean_score(by_split(runs, metric)) for name, runs in methods.items() if runs}
    return sorted(scores, key=lambda name: (-scores[name], name))


def _outcome(
    cell: Cell, role: str, reference: str, method: str, family: Sequence[PairTest]
) -> Outcome:
    """Finds the test of two methods."""
    pair = {method, reference}
    tests = [test for test in family if test.task == cell[0] and {test.one, test.other} == pair]
    return Outcome(cell, role, reference, method, tests[0].seen_by(method) if tests else None)


def _told(outcome: Outcome) -> str:
    """Says one outcome with its numbers."""
    test = outcome.test
    if test is None:
        return f"{outcome.method} has no split in common with it"
    spread = test.difference.interval
    p = "p < 0.001" if test.adjusted_p < 0.001 else f"p = {test.adjusted_p:.3f}"
    if outcome.kind == "loses":  # by a positive number
        return (
            f"{outcome.method} loses to it by "
            f"{_amount(test.metric, -spread.value, -spread.high, -spread.low)}, {p}"
        )
    numbers = f"{_amount(test.metric, spread.value, spread.low, spread.high)}, {p}"
    if outcome.kind == "beats":
        return f"{outcome.method} beats it by {numbers}"
    return f"{outcome.method} cannot be told from it (difference {numbers})"


def _amount(metric: Metric, value: float, low: float, high: float) -> str:
    """Returns a difference with its interval and unit."""
    if metric == "accuracy":
        return f"{100 * value:.1f} points [{100 * low:.1f}, {100 * high:.1f}]"
    return f"{value:.3f} nats [{low:.3f}, {high:.3f}]"


def _over_tasks(cells: dict[Cell, Methods], outcomes: Sequence[Outcome], at: str) -> list[str]:
    """Returns a sentence for each RL method that counts its wins over tasks."""
    rank = overall_ranks([*cells.values()])
    sentences = []
    for method in sorted({outcome.method for outcome in outcomes}, key=lambda name: rank[name]):
        parts = []
        for role in ROLES:
            kinds = [o.kind for o in outcomes if o.method == method and o.role == role]
            if kinds:
                counts = f"{kinds.count('beats')} won, {kinds.count('loses')} lost"
                parts.append(f"against {role} {counts}, {kinds.count('tie')} undecided")
        sentences.append(
            f"Over {len(cells)} tasks {at}, {method}: {'; '.join(parts)}; mean rank "
            f"{rank[method]:.1f} of {len(rank)}."
        )
    return sentences


def _nothing_significant(
    family: Sequence[PairTest], outcomes: Sequence[Outcome], at: str
) -> list[str]:
    """Returns the sentence for a budget at which RL differs from no reference, if it is so."""
    tests = [outcome.test for outcome in outcomes if outcome.test]
    if any(test.significant for test in family):
        methods = sorted({outcome.method for outcome in outcomes})
        roles = [role for role in ROLES if any(outcome.role == role for outcome in outcomes)]
        who = f"{_either(methods)} and {_either(roles)}"
    else:
        tests, who = [*family], "any two methods"
    if not tests or any(test.significant for test in tests):
        return []
    splits = _range([test.difference.interval.splits for test in tests])
    items = _range([test.difference.items for test in tests])
    return [
        f"No difference between {who} {at} is significant at 5 % after Holm's correction over "
        f"{_many(len(family), 'test')}: with {splits} split{'s' * (splits != '1')} and {items} "
        "items this comparison cannot tell them apart."
    ]


def _preface(metric: Metric) -> str:
    """Says what the numbers are."""
    name = "accuracy" if metric == "accuracy" else "log-likelihood"
    return (
        f"Differences are of mean calibrated test {name}, with 95 % intervals over items and "
        f"splits; p is over items, after Holm's correction. Significant is p < {ALPHA} with an "
        "interval that leaves out 0."
    )


def _failed(failures: Sequence[Failure]) -> list[str]:
    """Returns a sentence for each method that failed."""
    sentences = []
    for method in sorted({failure.setting.method for failure in failures}):
        own = [failure for failure in failures if failure.setting.method == method]
        tasks = ", ".join(sorted({failure.setting.task for failure in own}))
        error = own[0].error.strip().rstrip(".")
        sentences.append(
            f"{method} failed in {_many(len(own), 'run')} ({tasks}; {error}): its means are over "
            "the others, its pairs over the splits that both have."
        )
    return sentences


def _limits(trials: Sequence[Trial]) -> list[str]:
    """Returns what so few splits and seeds cannot show."""
    sentences = []
    splits: dict[str, set[int]] = {}
    for trial in trials:
        splits.setdefault(trial.setting.task, set()).add(trial.setting.split_seed)
    single = sorted(task for task, seeds in splits.items() if len(seeds) == 1)
    few = sorted(task for task, seeds in splits.items() if 1 < len(seeds) < FEW_SPLITS)
    if single:
        sentences.append(
            f"One split only on {', '.join(single)}: intervals are over test items and say nothing "
            "about other few-shot draws."
        )
    if few:
        number = _range([len(splits[task]) for task in few])
        sentences.append(
            f"Intervals over {number} splits on {', '.join(few)} are somewhat too narrow where "
            "splits differ much."
        )
    searches = [trial.setting for trial in trials if trial.setting.budget]
    if searches and len({setting.seed for setting in searches}) == 1:
        sentences.append(
            "Every search ran with one agent seed: a lucky seed cannot be told from a good method "
            "on a split."
        )
    return sentences


def _range(numbers: Sequence[int]) -> str:
    """Returns '5' or '3 to 5'."""
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _either(names: Sequence[str]) -> str:
    """Returns 'a, b or c'."""
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _many(number: int, noun: str) -> str:
    """Returns '1 test' or '2 tests'."""
    return f"{number:,} {noun}{'s' * (number != 1)}"
