"""The best train reward so far of many methods: a small drawing each, all others behind it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rlprompt.html import plots
from rlprompt.html.plots import LEFT, RIGHT, WIDTH, Plot, Series
from rlprompt.html.scales import Scale, Tick

#: Places at which courses are drawn, evenly on a logarithmic axis.
PLACES = 60
HEIGHT = 210


@dataclass(frozen=True)
class Course:
    """The courses of all methods of a cell.

    Attributes:
        all: every line, in the coordinates that the panels share.
        panels: a drawing for each method, with its own line only.
    """

    all: tuple[Series, ...]
    panels: tuple[Plot, ...]


def course_of(
    traces: Mapping[str, Sequence[Sequence[Sequence[float]]]], budget: int
) -> Course | None:
    """Draws the mean over runs of the best train reward so far.

    Args:
        traces: of each method its runs' improvements, (LM forwards, train reward) each.
        budget: LM forwards of a run.

    Returns:
        None where no run has a trace.
    """
    kept = {name: [run for run in runs if run] for name, runs in traces.items()}
    lines = {name: _mean(runs, budget) for name, runs in kept.items() if runs}
    if not lines:
        return None
    first = min(x for points in lines.values() for x, _ in points)
    across = (first, max(math.log10(budget), first + 0.1))
    up = Scale.over((y for points in lines.values() for _, y in points), 0.0, 1.0)
    x = Scale(*across, LEFT, WIDTH - RIGHT)
    ticks = tuple(
        Tick(x(power), f"{10**power:,}")
        for power in range(math.ceil(across[0] - 1e-9), math.floor(across[1] + 1e-9) + 1)
    )
    panels = [
        replace(
            plots.lines(
                name,
                "LM forwards",
                "",
                {name: points},
                x_range=across,
                y_range=(up.low, up.high),
                height=HEIGHT,
            ),
            x_ticks=ticks,
            description=f"Best train reward so far of {name}: {points[-1][1]:.3f} at the end.",
        )
        for name, points in lines.items()
    ]
    return Course(tuple(panel.series[0] for panel in panels), tuple(panels))


def _mean(runs: Sequence[Sequence[Sequence[float]]], budget: int) -> list[tuple[float, float]]:
    """Returns (log10 of LM forwards, mean reward) from where every run has a prompt."""
    start = math.log10(max(run[0][0] for run in runs))
    at = np.linspace(start, max(math.log10(budget), start), PLACES)
    best = []
    for run in runs:
        steps = np.log10([step[0] for step in run])
        # A hair is added, so that an improvement at a place counts there.
        number = np.searchsorted(steps, at + 1e-9, side="right") - 1
        best.append(np.array([step[1] for step in run])[number])
    return [(float(x), float(y)) for x, y in zip(at, np.mean(best, axis=0), strict=True)]
