"""Trials sorted into cells: a task, a budget, and the methods that are compared there."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np

from rlprompt.core.errors import RunError
from rlprompt.core.evaluation import FloatArray
from rlprompt.core.trials import Failure, Setting, Trial
from rlprompt.report.statistics import Interval, Scores, SplitScores, intervals, mean_ranks

Metric: TypeAlias = Literal["log_likelihood", "accuracy"]
METRICS: tuple[Metric, ...] = ("log_likelihood", "accuracy")

Cell: TypeAlias = tuple[str, int]  # task, budget in LM forwards
Methods: TypeAlias = dict[str, list[Trial]]


def check_trials(trials: Sequence[Trial], failures: Sequence[Failure] = ()) -> None:
    """Refuses trials that cannot be compared.

    Raises:
        RunError: there are none; one setting stands there twice; scores are not finite or of
            unequal number; a split has several sets of test items; a method is fixed and searched.
    """
    if not trials:
        why = (
            f": all {len(failures)} failed, the first with {failures[0].error}" if failures else ""
        )
        raise RunError(f"There are no trials to report{why}.")
    seen: set[Setting] = set()
    items: dict[tuple[str, int], tuple[str, int, Setting]] = {}
    fixed: dict[tuple[str, str], bool] = {}
    for trial in trials:
        setting = trial.setting
        if setting in seen:
            raise RunError(f"There are two trials of {_where(setting)}.")
        seen.add(setting)
        n = len(trial.correct)
        if not n or trial.correct.shape != (n,) or trial.log_likelihood.shape != (n,):
            raise RunError(
                f"The trial of {_where(setting)} has {trial.correct.shape} accuracies and "
                f"{trial.log_likelihood.shape} log-likelihoods; it needs one of each an item."
            )
        if not (np.isfinite(trial.correct).all() and np.isfinite(trial.log_likelihood).all()):
            raise RunError(f"The trial of {_where(setting)} has scores that are not finite.")
        split = (setting.task, setting.split_seed)
        test_hash, count, first = items.setdefault(split, (trial.test_hash, n, setting))
        if (test_hash, count) != (trial.test_hash, n):
            raise RunError(
                f"{_where(setting)} was scored on other test items ({trial.test_hash}, {n:,}) than "
                f"{_where(first)} ({test_hash}, {count:,}); scores of a split must be of one set."
            )
        if fixed.setdefault((setting.task, setting.method), not setting.budget) == bool(
            setting.budget
        ):
            raise RunError(
                f"{setting.method!r} on {setting.task} stands with budget 0, as a fixed prompt, "
                "and with a budget, as a search; give one of them another name."
            )


def sort_cells(trials: Sequence[Trial], failures: Sequence[Failure] = ()) -> dict[Cell, Methods]:
    """Sorts trials by task and budget, ascending, and by method.

    Fixed prompts, which have budget 0, stand in each budget of their task; a task without any
    search has the one budget 0. A method that only failed is there with no trials.

    Raises:
        RunError: the trials cannot be compared; see :func:`check_trials`.
    """
    check_trials(trials, failures)
    settings = [trial.setting for trial in trials] + [failure.setting for failure in failures]
    cells: dict[Cell, Methods] = {}
    for task in sorted({setting.task for setting in settings}):
        here = [setting for setting in settings if setting.task == task]
        for budget in sorted({setting.budget for setting in here} - {0}) or [0]:
            names = sorted({setting.method for setting in here if setting.budget in (0, budget)})
            cells[task, budget] = {name: [] for name in names}
    for trial in sorted(trials, key=lambda trial: (trial.setting.split_seed, trial.setting.seed)):
        for (task, budget), methods in cells.items():
            if task == trial.setting.task and trial.setting.budget in (0, budget):
                methods[trial.setting.method].append(trial)
    return cells


def by_split(trials: Sequence[Trial], metric: Metric) -> dict[int, SplitScores]:
    """Averages one method's scores over agent seeds, item by item, for each split seed.

    Args:
        trials: of one method on one task with one budget.
        metric: 'log_likelihood' (nats) or 'accuracy'.
    """
    splits: dict[int, list[Trial]] = {}
    for trial in trials:
        splits.setdefault(trial.setting.split_seed, []).append(trial)
    return {
        split: SplitScores(
            runs[0].test_hash, np.mean([item_scores(run, metric) for run in runs], axis=0)
        )
        for split, runs in sorted(splits.items())
    }


def item_scores(trial: Trial, metric: Metric) -> FloatArray:
    """Returns a trial's score on each test item, shape (n_test,)."""
    return trial.log_likelihood if metric == "log_likelihood" else trial.correct


def score_intervals(methods: Methods, metric: Metric) -> dict[str, Interval]:
    """Returns the mean score and its interval of each method that has trials."""
    return intervals({name: by_split(runs, metric) for name, runs in methods.items() if runs})


def mean_score(scores: Scores) -> float:
    """Returns the mean over splits of the mean over items; -inf without splits."""
    means = [split.values.mean() for split in scores.values()]
    return float(np.mean(means)) if means else -np.inf


def ranks(methods: Methods) -> dict[str, float]:
    """Returns each method's mean rank over the splits of a cell by test log-likelihood."""
    return mean_ranks(_split_means(methods))


def overall_ranks(cells: Sequence[Methods]) -> dict[str, float]:
    """Returns each method's mean rank over all (task, split, budget) by test log-likelihood."""
    return mean_ranks([split for methods in cells for split in _split_means(methods)])


def random_rewards(methods: Methods) -> dict[int, float]:
    """Returns by split seed the train reward 'random' ended with, averaged over its seeds."""
    found: dict[int, list[float]] = {}
    for trial in methods.get("random", []):
        if trial.trace:
            found.setdefault(trial.setting.split_seed, []).append(trial.trace[-1][1])
    return {split: float(np.mean(rewards)) for split, rewards in found.items()}


def is_fixed(trials: Sequence[Trial]) -> bool:
    """Whether these are trials of a fixed prompt, which nothing was searched for."""
    return bool(trials) and not trials[0].setting.budget


def is_tuned(trials: Sequence[Trial]) -> bool:
    """Whether these are trials of a tuned method, which has no text prompt."""
    return bool(trials) and trials[0].tuning is not None


def is_rl(method: str, rl: frozenset[str]) -> bool:
    """Whether a method is one of ``rl`` or a variant of one ('ppo+racing' of 'ppo')."""
    return method in rl or method.split("+")[0] in rl


def _split_means(methods: Methods) -> list[dict[str, float]]:
    """Returns for each split seed the mean test log-likelihood of the methods that have it."""
    splits: dict[int, dict[str, float]] = {}
    for method, trials in methods.items():
        for split, scores in by_split(trials, "log_likelihood").items():
            splits.setdefault(split, {})[method] = float(scores.values.mean())
    return [splits[split] for split in sorted(splits)]


def _where(setting: Setting) -> str:
    """Names a setting in an error."""
    return (
        f"{setting.method!r} on {setting.task}, split {setting.split_seed}, seed {setting.seed}, "
        f"budget {setting.budget:,}"
    )
