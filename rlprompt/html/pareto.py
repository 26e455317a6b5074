"""What a better reward costs: the prompts that none is as good as that is as short, or as fluent.

Three sides: train reward, tokens, and perplexity under the LM where prompts were read. A prompt is
on the front where no other is at least as good on all sides and better on one.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rlprompt.html.archive import Archive, Row
from rlprompt.html.plots import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Dot, Plot, Series
from rlprompt.html.scales import Scale, Tick

#: Share of the prompts of a length that is drawn: the worst would press all others together.
SHOWN = 0.95
#: Prompts of each length that are drawn, evenly over their ranks.
DRAWN = 60
#: Most marks on the axis of perplexities, which are powers of ten and, with few of them, threes.
MARKS = 5


@dataclass(frozen=True)
class Pareto:
    """The front and its picture.

    Attributes:
        front: shortest first, of one length the most fluent first.
        plots: reward against length and against perplexity, as far as these differ.
        fluent: whether perplexity is a side.
    """

    front: tuple[Row, ...]
    plots: tuple[Plot, ...]
    fluent: bool


def pareto_of(archive: Archive) -> Pareto | None:
    """Finds the front.

    Args:
        archive: whole, best first.

    Returns:
        None where lengths are not known, or where all are the same and no prompt was read.
    """
    known = [row for row in archive.rows if row.n_tokens is not None]
    read = [row for row in known if row.fluency is not None]
    rows = read or known
    lengths = sorted({row.n_tokens or 0 for row in rows})
    if not read and len(lengths) < 2:
        return None
    front = sorted(_front(rows), key=lambda row: (row.n_tokens or 0, -(row.fluency or 0.0)))
    plots = []
    if len(lengths) > 1:
        plots.append(_against_length(rows, lengths))
    if read:
        plots.append(_against_perplexity(rows, lengths))
    return Pareto(tuple(front), tuple(plots), bool(read))


def _front(rows: Sequence[Row]) -> list[Row]:
    """Returns the rows that no other dominates; of equals the first."""
    front: list[Row] = []
    # Whoever dominates a row has at least its reward, so stands before it, or is its equal.
    for row in sorted(rows, key=lambda row: (-row.reward, row.n_tokens or 0, -(row.fluency or 0))):
        if not any(_covers(other, row) for other in front):
            front.append(row)
    return front


def _covers(one: Row, other: Row) -> bool:
    return (one.n_tokens or 0) <= (other.n_tokens or 0) and (one.fluency or 0.0) >= (
        other.fluency or 0.0
    )


def _against_length(rows: Sequence[Row], lengths: Sequence[int]) -> Plot:
    best = {n: next(row for row in rows if row.n_tokens == n) for n in lengths}
    line: list[Row] = []
    for row in best.values():
        if not line or row.reward > line[-1].reward:
            line.append(row)
    drawn = [
        (row, (row.n_tokens or 0) + _aside(n))
        for length in best
        for n, row in enumerate(_spread([row for row in rows if row.n_tokens == length]))
    ]
    x = Scale.over([*lengths], LEFT, WIDTH - RIGHT, margin=0.12)
    told = "; ".join(f"{row.n_tokens} tokens {row.reward:.3f} {row.text!r}" for row in line)
    return _plot(
        "Reward on train against length",
        f"The best reward at each length that no shorter prompt reaches: {told}.",
        "tokens of the prompt",
        tuple(Tick(x(length), str(length)) for length in lengths),
        x,
        drawn,
        {"front": line},
        lambda row: float(row.n_tokens or 0),
    )


def _against_perplexity(rows: Sequence[Row], lengths: Sequence[int]) -> Plot:
    drawn = [(row, -(row.fluency or 0.0)) for row in _spread(rows, DRAWN * len(lengths))]
    lines = {
        f"front, up to {length} token{'s' * (length > 1)}": sorted(
            _front([row for row in rows if (row.n_tokens or 0) <= length]),
            key=lambda row: -(row.fluency or 0.0),
        )
        for length in lengths
    }
    # Of two sides only: without length, whoever is less fluent has to be better.
    lines = {name: _rising(line) for name, line in lines.items()}
    ends = [value for _, value in drawn] + [
        -(row.fluency or 0.0) for line in lines.values() for row in line
    ]
    x = Scale.over(ends, LEFT, WIDTH - RIGHT)
    told = "; ".join(f"{name}: {len(line)} prompts" for name, line in lines.items())
    return _plot(
        "Reward on train against perplexity",
        f"The best reward at each perplexity that no more fluent prompt reaches. {told}.",
        "perplexity a token, under the LM",
        tuple(Tick(x(math.log(each)), f"{each:,}") for each in _marks(x)),
        x,
        drawn,
        lines,
        lambda row: -(row.fluency or 0.0),
    )


def _marks(x: Scale) -> list[int]:
    """Returns round perplexities on an axis of their logarithms."""
    tens = [10**n for n in range(16)]
    found = [
        [each for each in marks if x.low <= math.log(each) <= x.high]
        for marks in (sorted([*tens, *(3 * each for each in tens)]), tens, tens[::2], tens[::4])
    ]
    return next((marks for marks in found if len(marks) <= MARKS), found[-1])


def _rising(line: Sequence[Row]) -> list[Row]:
    found: list[Row] = []
    for row in line:
        if not found or row.reward > found[-1].reward:
            found.append(row)
    return found


def _plot(
    title: str,
    description: str,
    x_label: str,
    x_ticks: tuple[Tick, ...],
    x: Scale,
    drawn: Sequence[tuple[Row, float]],
    lines: dict[str, list[Row]],
    place: Callable[[Row], float],
) -> Plot:
    rewards = [row.reward for row, _ in drawn] + [
        row.reward for each in lines.values() for row in each
    ]
    y = Scale.over(rewards, HEIGHT - BOTTOM, TOP)
    series = [
        Series(
            "scored prompts, the best 95 %",
            7,
            dots=tuple(Dot(x(value), y(row.reward)) for row, value in drawn),
        )
    ]
    for n, (name, line) in enumerate(lines.items()):
        dots = tuple(
            Dot(x(place(row)), y(row.reward), f"{row.text!r}: {row.reward:.3f}") for row in line
        )
        series.append(Series(name, n, " ".join(f"{dot.x},{dot.y}" for dot in dots), dots))
    return Plot(title, description, x_label, "", x_ticks, y.ticks(5), tuple(series))


def _spread(rows: Sequence[Row], most: int = DRAWN) -> Sequence[Row]:
    """Returns rows evenly over their ranks, best first, without the worst."""
    rows = rows[: math.ceil(SHOWN * len(rows))]
    if len(rows) <= most:
        return rows
    return [rows[round(n * (len(rows) - 1) / (most - 1))] for n in range(most)]


def _aside(n: int) -> float:
    """Returns how far a dot is moved so that it does not hide its neighbours."""
    return ((n * 7) % 11 - 5) / 40
