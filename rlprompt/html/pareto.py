"""Reward against length: the prompts that no shorter one is as good as."""

import math
from dataclasses import dataclass

from rlprompt.html.archive import Archive, Row
from rlprompt.html.plots import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Dot, Plot, Series
from rlprompt.html.scales import Scale, Tick

#: Share of the prompts of a length that is drawn: the worst would press all others together.
SHOWN = 0.95
#: Prompts of each length that are drawn, evenly over their ranks.
DRAWN = 60


@dataclass(frozen=True)
class Pareto:
    """The front and its picture.

    Attributes:
        front: shortest first; each better than all that are as short.
        plot: all lengths, the front as a line.
    """

    front: tuple[Row, ...]
    plot: Plot


def pareto_of(archive: Archive) -> Pareto | None:
    """Finds the front of the train reward against the number of tokens.

    Args:
        archive: whole, best first.

    Returns:
        None where lengths are not known, or all are the same.
    """
    lengths: dict[int, list[Row]] = {}
    for row in archive.rows:
        if row.n_tokens is not None:
            lengths.setdefault(row.n_tokens, []).append(row)
    if len(lengths) < 2:
        return None
    front: list[Row] = []
    for length in sorted(lengths):
        best = lengths[length][0]
        if not front or best.reward > front[-1].reward:
            front.append(best)
    drawn = {length: _spread(rows) for length, rows in lengths.items()}
    y = Scale.over([row.reward for rows in drawn.values() for row in rows], HEIGHT - BOTTOM, TOP)
    x = Scale.over([*lengths], LEFT, WIDTH - RIGHT, margin=0.12)
    dots = tuple(
        Dot(x(length + _aside(n)), y(row.reward))
        for length, rows in drawn.items()
        for n, row in enumerate(rows)
    )
    marks = tuple(
        Dot(x(row.n_tokens or 0), y(row.reward), f"{row.text!r}: {row.reward:.3f}") for row in front
    )
    told = "; ".join(f"{row.n_tokens} tokens {row.reward:.3f} {row.text!r}" for row in front)
    plot = Plot(
        "Reward on train against length",
        f"The best reward at each length that no shorter prompt reaches: {told}.",
        "tokens of the prompt",
        "",
        tuple(Tick(x(length), str(length)) for length in sorted(lengths)),
        y.ticks(5),
        (
            Series("scored prompts, the best 95 %", 7, dots=dots),
            Series("front", 0, " ".join(f"{dot.x},{dot.y}" for dot in marks), marks),
        ),
    )
    return Pareto(tuple(front), plot)


def _spread(rows: list[Row]) -> list[Row]:
    """Returns rows evenly over their ranks, best first, without the worst."""
    rows = rows[: math.ceil(SHOWN * len(rows))]
    if len(rows) <= DRAWN:
        return rows
    return [rows[round(n * (len(rows) - 1) / (DRAWN - 1))] for n in range(DRAWN)]


def _aside(n: int) -> float:
    """Returns how far a dot is moved so that it does not hide its neighbours."""
    return ((n * 7) % 11 - 5) / 40
