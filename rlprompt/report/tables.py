"""Data frames of a comparison, and one of them as a Markdown table. Needs the extra 'compare'."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from rlprompt.core.trials import Failure, Trial
from rlprompt.report.cells import (
    METRICS,
    Metric,
    is_fixed,
    is_tuned,
    random_rewards,
    ranks,
    score_intervals,
    sort_cells,
)
from rlprompt.report.pairwise import PairTest
from rlprompt.report.statistics import Interval, forwards_to_reach

NONE = "—"
#: Columns that are there where a method is tuned, and their titles.
TAKEN = {
    "parameters": "trained parameters",
    "passes": "LM forwards + 2 x backwards",
    "seconds": "seconds",
    "bytes": "bytes on disk",
    "gradients": "needs gradients?",
    "readable": "readable?",
    "other_lms": "other LMs?",
}
_YES_OR_NO = ("gradients", "readable", "other_lms")
PROMPT_WIDTH = 80  # characters of a prompt in a table for people


def summary(
    trials: Sequence[Trial], failures: Sequence[Failure] = (), *, reward: float | None = None
) -> pd.DataFrame:
    """Returns one row for each task, budget and method, by mean test log-likelihood, best first.

    The order reports; it selects nothing. Fixed prompts stand in each budget of their task.

    - ``task``, ``budget`` (LM forwards; 0 if there are fixed prompts only), ``method``, ``fixed``
    - ``log_likelihood`` (nats), ``accuracy``, each with ``_low`` and ``_high``, the 95 % interval
      of :func:`~rlprompt.report.statistics.interval`
    - ``splits`` and ``runs`` that the means are over, ``failures`` that are left out of them
    - ``rank``: mean rank by test log-likelihood over the splits, 1 is best
    - ``train_reward``: mean, of the selected prompts
    - ``forwards_to_reach``: median over runs of the LM forwards until the train reward that
      'random' ended with (mean over its seeds, on the same split and budget), or ``reward``; NaN
      where half of the runs or more never reached it
    - ``reached`` in how many of ``traced`` runs; both 0 where there is nothing to reach
    - ``prompt``: of the first split and seed
    - where a method is tuned, for all of them: ``parameters`` trained, ``passes`` (LM forwards, and
      two for a backward), ``seconds`` and ``bytes`` on disk, means over runs; whether it needs
      ``gradients``, is ``readable``, and can be used with ``other_lms``

    Args:
        trials: of any number of tasks, budgets and methods.
        failures: runs that ended in an error.
        reward: train reward to reach, in place of what 'random' ended with.

    Raises:
        RunError: there are no trials, or they cannot be compared.
    """
    rows = []
    tuned = any(is_tuned([trial]) for trial in trials)
    for (task, budget), methods in sort_cells(trials, failures).items():
        rank = ranks(methods)
        targets = random_rewards(methods)
        found = {metric: score_intervals(methods, metric) for metric in METRICS}
        for method, runs in methods.items():
            failed = [
                failure
                for failure in failures
                if (failure.setting.task, failure.setting.method) == (task, method)
                and failure.setting.budget in (0, budget)
            ]
            rows.append(
                {"task": task, "budget": budget, "method": method, "fixed": is_fixed(runs)}
                | _scores(runs, {metric: found[metric].get(method) for metric in METRICS})
                | {"failures": len(failed), "rank": rank.get(method, np.nan)}
                | _reaching(runs, targets, reward)
                | {"prompt": runs[0].prompt if runs else ""}
                | (_taken(runs) if tuned else {})
            )
    table = pd.DataFrame(rows)
    return table.sort_values(
        ["task", "budget", "log_likelihood", "method"],
        ascending=[True, True, False, True],
        ignore_index=True,
    )


def markdown(table: pd.DataFrame, *, reward: float | None = None) -> str:
    """Returns the table of :func:`summary` as GitHub Markdown, numbers as `0.756 [0.741, 0.770]`.

    Args:
        table: of :func:`summary`.
        reward: the train reward to reach that the summary was made with, for the title.
    """
    goal = "random's best reward" if reward is None else f"train reward {reward:g}"
    titles = {
        "task": "task",
        "budget": "LM forwards",
        "method": "method",
        "accuracy": "test accuracy",
        "log_likelihood": "test log-likelihood",
        "rank": "mean rank",
        "reached": f"forwards to {goal}",
        "train_reward": "train reward",
        "runs": "runs",
        "failures": "failed",
        "prompt": "prompt of the first split",
        **TAKEN,
    }
    cells = pd.DataFrame(
        {
            "task": [escape(str(task)) for task in table["task"]],
            "budget": [f"{budget:,}" if budget else NONE for budget in table["budget"]],
            "method": [escape(str(method)) for method in table["method"]],
            "accuracy": _intervals(table, "accuracy"),
            "log_likelihood": _intervals(table, "log_likelihood"),
            "rank": [_number(rank, 1) for rank in table["rank"]],
            "reached": [
                f"{_count(median)} ({reached}/{traced})" if traced else NONE
                for median, reached, traced in zip(
                    table["forwards_to_reach"], table["reached"], table["traced"], strict=True
                )
            ],
            "train_reward": [_number(reward, 3) for reward in table["train_reward"]],
            "runs": [str(runs) for runs in table["runs"]],
            "failures": [str(failures) for failures in table["failures"]],
            "prompt": [
                (escape if numbers else quote)(str(prompt)) if runs else NONE
                for prompt, runs, numbers in zip(
                    table["prompt"], table["runs"], _parameters(table), strict=True
                )
            ],
            **({name: [*map(short, table[name])] for name in TAKEN} if "bytes" in table else {}),
        }
    )
    text = {"task", "method", "prompt"}
    lines = [
        [titles[str(name)] for name in cells],
        [":--" if name in text else "--:" for name in cells],
        *cells.to_numpy().tolist(),
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def tests_table(tests: Sequence[PairTest]) -> pd.DataFrame:
    """Returns the tests of :func:`~rlprompt.report.pairwise.all_tests`, one a row.

    Columns: ``task``, ``budget``, ``metric``, ``one`` (the greater), ``other``, ``difference`` with
    ``low`` and ``high`` (95 %, over items and splits), ``p`` (over items), ``adjusted_p`` (Holm),
    ``family`` (number of tests adjusted for), ``significant``, ``splits``, ``items``.
    """
    columns = [
        *("task", "budget", "metric", "one", "other", "difference", "low", "high"),
        *("p", "adjusted_p", "family", "significant", "splits", "items"),
    ]
    rows = []
    for test in tests:
        row = asdict(test)
        difference = row.pop("difference")
        spread = difference.pop("interval")
        rows.append(row | difference | spread | {"difference": spread["value"]})
    return pd.DataFrame(rows, columns=columns)


def short(value: float | bool | None) -> str:
    """Returns a number or a yes or no of ``TAKEN`` for people, a dash for none."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if value is None or np.isnan(value):
        return NONE
    return f"{value:,.1f}" if 0 < value < 10 and value % 1 else f"{value:,.0f}"


def escape(text: str) -> str:
    """Escapes what Markdown would read as markup in the cell of a table."""
    for mark in "\\|`*_<[":
        text = text.replace(mark, "\\" + mark)
    return text


def quote(prompt: str, width: int = PROMPT_WIDTH) -> str:
    r"""Returns a prompt as Python would write it, as code, at most ``width`` characters of it.

    >>> print(quote("a|b\n"))
    `'a\|b\n'`
    """
    shown = repr(prompt if len(prompt) <= width else prompt[: width - 1] + "…")
    fence = "`"
    while fence in shown:  # a code span ends at as many backticks as it begins with
        fence += "`"
    space = " " if "`" in shown else ""
    return f"{fence}{space}{shown}{space}{fence}".replace("|", "\\|")


def _scores(runs: Sequence[Trial], spreads: Mapping[Metric, Interval | None]) -> dict[str, float]:
    """Returns mean scores with intervals, mean train reward, and what they are over."""
    row: dict[str, float] = {}
    for metric, found in spreads.items():
        row |= {
            metric: found.value if found else np.nan,
            f"{metric}_low": found.low if found else np.nan,
            f"{metric}_high": found.high if found else np.nan,
            "splits": found.splits if found else 0,
        }
    rewards = [run.train_reward for run in runs]
    return row | {
        "runs": len(runs),
        "train_reward": float(np.mean(rewards)) if rewards else np.nan,
    }


def _taken(runs: Sequence[Trial]) -> dict[str, float | bool | None]:
    """Returns what a method takes and gives besides scores; of a text prompt, what is true of all.

    A text prompt's bytes are those of the text.
    """
    if not runs:
        return {name: None if name in _YES_OR_NO else np.nan for name in TAKEN}
    first = runs[0].tuning
    kept = [run.tuning.n_bytes if run.tuning else len(run.prompt.encode()) for run in runs]
    return {
        "parameters": float(
            np.mean([run.tuning.n_parameters if run.tuning else 0 for run in runs])
        ),
        "passes": float(np.mean([run.forwards for run in runs])),
        "seconds": float(np.mean([run.seconds for run in runs])),
        "bytes": float(np.mean(kept)),
        "gradients": first.gradients if first else False,
        "readable": first.readable if first else True,
        "other_lms": first.other_lms if first else True,
    }


def _reaching(
    runs: Sequence[Trial], targets: dict[int, float], reward: float | None
) -> dict[str, float]:
    """Returns the median LM forwards to reach a reward and how many of the runs did."""
    needed = [
        forwards_to_reach(run.trace, targets[run.setting.split_seed] if reward is None else reward)
        for run in runs
        if run.trace and (reward is not None or run.setting.split_seed in targets)
    ]
    median = np.median([np.inf if count is None else count for count in needed]) if needed else 0.0
    return {
        "forwards_to_reach": float(median) if needed and np.isfinite(median) else np.nan,
        "reached": sum(count is not None for count in needed),
        "traced": len(needed),
    }


def _intervals(table: pd.DataFrame, metric: str) -> list[str]:
    """Returns `value [low, high]` of each row."""
    columns = zip(table[metric], table[f"{metric}_low"], table[f"{metric}_high"], strict=True)
    return [
        NONE if np.isnan(value) else f"{value:.3f} [{low:.3f}, {high:.3f}]"
        for value, low, high in columns
    ]


def _parameters(table: pd.DataFrame) -> Sequence[float]:
    """Returns how many numbers were trained, of each row; those of a prompt are 0."""
    return list(table["parameters"]) if "parameters" in table else [0.0] * len(table)


def _number(value: float, digits: int) -> str:
    """Returns a number with so many digits, a dash for NaN."""
    return NONE if np.isnan(value) else f"{value:.{digits}f}"


def _count(value: float) -> str:
    """Returns a count with thousands separated, a dash for NaN."""
    return NONE if np.isnan(value) else f"{round(value):,}"
