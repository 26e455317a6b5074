"""Figures of a comparison, legible in black and white. Needs the extra 'compare'.

Drawn through matplotlib's objects: no pyplot, so no global state and no window, and nothing that a
caller has set up is touched. The same trials give the same bytes.
"""

import io
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, NullLocator

from rlprompt.core.errors import RunError
from rlprompt.core.evaluation import FloatArray
from rlprompt.core.files import write_text
from rlprompt.core.trials import Trial
from rlprompt.report.cells import (
    METRICS,
    Methods,
    Metric,
    is_fixed,
    is_rl,
    is_tuned,
    score_intervals,
    sort_cells,
)
from rlprompt.report.labels import LINES, label_lines
from rlprompt.report.verdict import RL

TITLES = {"log_likelihood": "test log-likelihood (nats)", "accuracy": "test accuracy"}
PANEL_WIDTH = 6.0  # inches
FONT: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same on every machine
    "font.size": 9,
    "svg.hashsalt": "rlprompt",
    "hatch.linewidth": 0.6,
}
KINDS = {  # kind of method: fill, hatch
    "RL": ("0.35", ""),
    "control": ("0.8", "////"),
    "fixed prompt": ("1.0", ""),
    "tuned": ("0.6", "...."),
}


def write_figures(folder: Path, trials: Sequence[Trial], *, rl: frozenset[str] = RL) -> list[Path]:
    """Writes all figures there are data for, each as PNG and SVG; returns their paths.

    ``anytime``, then for each budget ``<metric>-<budget>``, then, where there are several budgets,
    ``<metric>-by-budget``.

    Args:
        folder: made if it is missing.
        trials: of any number of tasks, budgets and methods.
        rl: names of the RL methods, which have bars of their own grey.

    Raises:
        RunError: there are no trials, they cannot be compared, or a file cannot be written.
    """
    budgets = sorted({budget for _, budget in sort_cells(trials)})
    figures: dict[str, Figure] = {}
    if any(trial.trace for trial in trials):
        figures["anytime"] = anytime(trials)
    for metric in METRICS:
        name = metric.replace("_", "-")
        for budget in budgets:
            figures[f"{name}-{budget}"] = score_bars(trials, metric, budget, rl=rl)
        if len(budgets) > 1:
            figures[f"{name}-by-budget"] = score_by_budget(trials, metric)
    return [path for name, figure in figures.items() for path in save(figure, folder / name)]


def anytime(trials: Sequence[Trial]) -> Figure:
    """Draws the best train reward so far against LM forwards, one line a method, one panel a task.

    A line is the mean over splits (agent seeds averaged within) of each method's largest budget,
    from where all of its runs have a prompt; its band is one standard error over splits.

    Raises:
        RunError: no trial has a trace.
    """
    largest: dict[str, Methods] = {}
    for (task, _), methods in sort_cells(trials).items():  # budgets ascend: the last one stays
        traced = {name: [run for run in runs if run.trace] for name, runs in methods.items()}
        largest.setdefault(task, {}).update({name: runs for name, runs in traced.items() if runs})
    largest = {task: methods for task, methods in largest.items() if methods}
    if not largest:
        raise RunError("No trial has a trace, so there is no course of a search to draw.")
    styles = _styles(largest.values())
    with rc_context(FONT):
        figure, panels = _panels([*largest], 3.6)
        for ax, (task, methods) in zip(panels, largest.items(), strict=True):
            ends = {}
            for k, (name, runs) in enumerate(methods.items()):
                x, mean, error = _course(runs)
                ends[name] = (x[-1], mean[-1])
                ax.fill_between(
                    x, mean - error, mean + error, step="post", color="0.5", alpha=0.08, lw=0
                )
                marks = _spaced(x, k / len(methods))
                style = {**styles[name], "marker": ""}
                ax.plot(x, mean, drawstyle="steps-post", **style)
                at = np.searchsorted(x, marks, side="right") - 1
                ax.plot(marks, mean[at], **{**styles[name], "linestyle": ""})
            _log_axis(ax)
            ax.set_title(task)
            ax.set_ylabel("best train reward so far")
            label_lines(ax, ends, styles)
    return figure


def score_bars(
    trials: Sequence[Trial], metric: Metric, budget: int, *, rl: frozenset[str] = RL
) -> Figure:
    """Draws each method's test score with its 95 % interval, best first, one panel a task.

    Args:
        trials: of any number of tasks, budgets and methods.
        metric: 'log_likelihood' (nats) or 'accuracy'.
        budget: LM forwards of the searches to draw; fixed prompts stand beside them.
        rl: names of the RL methods.

    Raises:
        RunError: there is no trial with this budget.
    """
    cells = {task: methods for (task, its), methods in sort_cells(trials).items() if its == budget}
    if not cells:
        raise RunError(f"There are no trials with a budget of {budget:,} LM forwards.")
    rows = max(len(methods) for methods in cells.values())
    with rc_context(FONT):
        figure, panels = _panels([*cells], 1.0 + 0.26 * rows)
        for ax, (task, methods) in zip(panels, cells.items(), strict=True):
            _draw_bars(ax, methods, metric, rl)
            ax.set_title(f"{task}, {budget:,} LM forwards" if budget else task)
        kinds = {
            _kind(name, runs, rl) for methods in cells.values() for name, runs in methods.items()
        }
        figure.legend(
            handles=[
                Patch(facecolor=fill, hatch=hatch, edgecolor="black", label=kind)
                for kind, (fill, hatch) in KINDS.items()
                if kind in kinds
            ],
            loc="outside lower center",
            ncols=len(KINDS),
            frameon=False,
        )
    return figure


def score_by_budget(trials: Sequence[Trial], metric: Metric) -> Figure:
    """Draws the test score with its 95 % interval against the budget, one panel a task.

    Methods are set a little beside each other so that their intervals can be seen; fixed prompts
    are grey lines across. With one budget :func:`score_bars` shows the same better.
    """
    tasks: dict[str, dict[int, Methods]] = {}
    for (task, budget), methods in sort_cells(trials).items():
        tasks.setdefault(task, {})[budget] = methods
    styles = _styles([methods for cells in tasks.values() for methods in cells.values()])
    with rc_context(FONT):
        figure, panels = _panels([*tasks], 4.4)
        for ax, (task, cells) in zip(panels, tasks.items(), strict=True):
            names = sorted({name for methods in cells.values() for name in methods})
            ends = {}
            scores = {budget: score_intervals(methods, metric) for budget, methods in cells.items()}
            step = _beside([*cells], len(names))
            for k, name in enumerate(names):
                found = {b: scores[b][name] for b in sorted(cells) if name in scores[b]}
                if not found:
                    continue
                values = np.array([spread.value for spread in found.values()])
                budgets = np.array([*found], dtype=np.float64)
                if is_fixed(cells[next(iter(found))][name]):
                    ax.axhline(values[0], color="0.6", linewidth=1.0)
                    styles[name] = {"marker": "_", "color": "0.6"}
                    ends[name] = (np.inf, values[0])
                    continue
                beside = budgets * step ** (k - (len(names) - 1) / 2)
                ends[name] = (beside[-1], values[-1])
                lows = values - [spread.low for spread in found.values()]
                highs = [spread.high for spread in found.values()] - values
                ax.errorbar(beside, values, [lows, highs], elinewidth=0.7, **styles[name])
            _log_axis(ax, sorted(cells))
            ax.set_title(task)
            ax.set_ylabel(TITLES[metric])
            label_lines(ax, ends, styles)
    return figure


def save(figure: Figure, stem: Path) -> list[Path]:
    """Writes a figure as ``<stem>.png`` and ``<stem>.svg``, without a date; returns the paths.

    Raises:
        RunError: a file cannot be written.
    """
    png, svg = stem.with_name(f"{stem.name}.png"), stem.with_name(f"{stem.name}.svg")
    picture, drawing = io.BytesIO(), io.StringIO()
    with rc_context(FONT):
        figure.savefig(picture, format="png", dpi=150)
        figure.savefig(drawing, format="svg", metadata={"Date": None})
    write_text(svg, drawing.getvalue())
    try:
        png.write_bytes(picture.getvalue())
    except OSError as error:
        raise RunError(f"Cannot write {png}: {error.strerror or error}.") from error
    return [png, svg]


def _panels(tasks: Sequence[str], height: float) -> tuple[Figure, list[Axes]]:
    """Returns a figure with a panel for each task, two in a row at most; height in inches."""
    columns = min(2, len(tasks))
    rows = -(-len(tasks) // columns)
    figure = Figure(figsize=(PANEL_WIDTH * columns, height * rows + 0.3), layout="constrained")
    panels = [figure.add_subplot(rows, columns, i + 1) for i in range(len(tasks))]
    for ax in panels:
        ax.spines[["top", "right"]].set_visible(False)
    return figure, panels


def _draw_bars(ax: Axes, methods: Methods, metric: Metric, rl: frozenset[str]) -> None:
    """Draws horizontal bars with intervals, the best on top, and the numbers beside them."""
    found = score_intervals(methods, metric)
    order = sorted(found, key=lambda name: (-found[name].value, name))
    for y, name in enumerate(order):
        spread = found[name]
        fill, hatch = KINDS[_kind(name, methods[name], rl)]
        ax.barh(
            y, spread.value, height=0.72, color=fill, hatch=hatch, edgecolor="black", linewidth=0.7
        )
        ends = [[spread.value - spread.low], [spread.high - spread.value]]
        # A white line below the black one keeps an interval visible on a dark or hatched bar.
        ax.errorbar(spread.value, y, xerr=ends, fmt="none", ecolor="white", elinewidth=3.5)
        ax.errorbar(
            spread.value, y, xerr=ends, fmt="none", ecolor="black", elinewidth=1.2, capsize=2
        )
        ax.annotate(
            f"{spread.value:.3f}",
            (1.0, y),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            annotation_clip=False,
        )
    ax.set_yticks(range(len(order)), order)
    ax.set_ylim(len(order) - 0.4, -0.6)
    ax.set_xlabel(TITLES[metric])
    if metric == "accuracy":
        ax.set_xlim(0.0, 1.0)


def _course(runs: Sequence[Trial]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Returns LM forwards, mean best reward so far, and its standard error over splits.

    Returns:
        Three arrays of shape (n_steps,); the first begins where every run has a prompt and ends at
        the budget.
    """
    first = max(run.trace[0][0] for run in runs)
    steps = {forwards for run in runs for forwards, _ in run.trace if forwards >= first}
    end = max([run.setting.budget for run in runs] + [*steps])
    x = np.array(sorted(steps | {end}))
    splits: dict[int, list[FloatArray]] = {}
    for run in runs:
        at = np.searchsorted([forwards for forwards, _ in run.trace], x, side="right") - 1
        best = np.maximum.accumulate([reward for _, reward in run.trace])
        splits.setdefault(run.setting.split_seed, []).append(best[at])
    curves = np.stack([np.mean(seeds, axis=0) for seeds in splits.values()])
    error = np.zeros(len(x))
    if len(curves) > 1:
        error = curves.std(axis=0, ddof=1) / np.sqrt(len(curves))
    return x.astype(np.float64), curves.mean(axis=0), error


def _spaced(x: FloatArray, phase: float, number: int = 5) -> FloatArray:
    """Returns places for markers, even on a log axis; another phase, other places."""
    low, high = np.log(max(x[0], 1.0)), np.log(max(x[-1], 1.0))
    places = np.exp(low + (high - low) * (np.arange(number) + phase) / number)
    return np.asarray(np.clip(places, x[0], x[-1]))


def _beside(budgets: Sequence[int], number: int) -> float:
    """Returns the factor between neighbours; all take up half of a step in budget at most."""
    ordered = sorted(max(budget, 1) for budget in budgets)
    steps = [after / before for before, after in pairwise(ordered)]
    return float(min(min(steps, default=2.0) ** (0.5 / number), 1.05))


def _kind(name: str, runs: Sequence[Trial], rl: frozenset[str]) -> str:
    """Returns which of ``KINDS`` a method is."""
    if is_fixed(runs):
        return "fixed prompt"
    if is_tuned(runs):
        return "tuned"
    return "RL" if is_rl(name, rl) else "control"


def _styles(cells: Iterable[Methods]) -> dict[str, dict[str, Any]]:
    """Gives each search its line, the same in all panels and figures."""
    names = sorted({name for cell in cells for name in cell if not is_fixed(cell[name])})
    return {name: LINES[i % len(LINES)] for i, name in enumerate(names)}


def _log_axis(ax: Axes, ticks: Sequence[int] = ()) -> None:
    """Sets up a logarithmic axis of LM forwards with plain numbers."""
    ax.set_xscale("log")
    ax.set_xlabel("LM forwards")
    if ticks:
        ax.set_xticks(ticks)
        ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    ax.grid(axis="y", color="0.9", linewidth=0.6)
