"""Drawings as data: everything is a coordinate already, the templates only write SVG."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rlprompt.html.scales import Scale, Tick

WIDTH, HEIGHT = 380, 260
LEFT, RIGHT, TOP, BOTTOM = 54, 24, 12, 42
ROW = 40
#: Most points of a line: more cannot be seen.
POINTS = 240


@dataclass(frozen=True)
class Dot:
    """A point with a text to read when it is pointed at."""

    x: float
    y: float
    text: str = ""


@dataclass(frozen=True)
class Series:
    """A line, or dots, of one kind.

    Attributes:
        name: what the legend calls it; '' for none.
        style: number of its colour and its dashes.
        points: ``x,y x,y`` of the line; '' for none.
        dots: points drawn one by one.
    """

    name: str
    style: int
    points: str = ""
    dots: tuple[Dot, ...] = ()


@dataclass(frozen=True)
class Plot:
    """Lines and dots over two axes.

    Attributes:
        title: heading.
        description: what is to be seen, for those who cannot.
        x_label: of the axis across.
        y_label: of the axis up.
        x_ticks: marks of the axis across.
        y_ticks: marks of the axis up.
        series: what is drawn, the first below the others.
        height: of the drawing; its width is ``WIDTH``.
    """

    title: str
    description: str
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    series: tuple[Series, ...]
    height: int = HEIGHT
    width: int = field(default=WIDTH, init=False)
    left: int = field(default=LEFT, init=False)
    right: int = field(default=WIDTH - RIGHT, init=False)
    top: int = field(default=TOP, init=False)

    @property
    def bottom(self) -> int:
        """Where the axis across lies."""
        return self.height - BOTTOM


@dataclass(frozen=True)
class Measured:
    """A value with its interval, to be drawn.

    Attributes:
        name: whose it is.
        note: a second line, as the prompt.
        value: the value.
        low: lower end; the value itself where there is no interval.
        high: upper end.
        strong: whether it is what the page is about.
    """

    name: str
    note: str
    value: float
    low: float
    high: float
    strong: bool = False


@dataclass(frozen=True)
class Bar:
    """A measured value as drawn.

    Attributes:
        of: what is drawn.
        y: where its line lies.
        x: where the dot is.
        low: where the line begins.
        high: where it ends.
    """

    of: Measured
    y: float
    x: float
    low: float
    high: float


@dataclass(frozen=True)
class IntervalPlot:
    """Dots with intervals, one below the other."""

    title: str
    description: str
    x_label: str
    x_ticks: tuple[Tick, ...]
    bars: tuple[Bar, ...]
    width: int = field(default=WIDTH, init=False)

    @property
    def bottom(self) -> int:
        """Where the axis lies."""
        return ROW * len(self.bars) + 8

    @property
    def height(self) -> int:
        """Of the drawing."""
        return self.bottom + BOTTOM


def intervals(title: str, x_label: str, rows: Sequence[Measured]) -> IntervalPlot:
    """Draws values with their intervals, in the order given."""
    ends = [end for row in rows for end in (row.low, row.value, row.high)]
    scale = Scale.over(ends, 10, WIDTH - 10)
    bars = [
        Bar(row, ROW * n + 32, scale(row.value), scale(row.low), scale(row.high))
        for n, row in enumerate(rows)
    ]
    told = "; ".join(f"{row.name} {row.value:.3f} [{row.low:.3f}, {row.high:.3f}]" for row in rows)
    return IntervalPlot(title, f"{x_label}: {told}.", x_label, scale.ticks(5), tuple(bars))


def lines(
    title: str,
    x_label: str,
    y_label: str,
    named: Mapping[str, Sequence[tuple[float, float]]],
    *,
    steps: frozenset[str] = frozenset(),
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    styles: Mapping[str, int] | None = None,
    height: int = HEIGHT,
) -> Plot:
    """Draws lines over two axes.

    Args:
        title: heading.
        x_label: of the axis across.
        y_label: of the axis up.
        named: (x, y) of each line by name, x ascending.
        steps: lines that keep a value until the next.
        x_range: of the axis across; None for the data's.
        y_range: of the axis up; None for the data's.
        styles: number of the style of a line; None for its place.
        height: of the drawing.
    """
    everything = [point for points in named.values() for point in points]
    x = (
        Scale.over([x for x, _ in everything], LEFT, WIDTH - RIGHT, margin=0.0)
        if x_range is None
        else Scale(*x_range, LEFT, WIDTH - RIGHT)
    )
    bottom = height - BOTTOM
    y = (
        Scale.over([y for _, y in everything], bottom, TOP)
        if y_range is None
        else Scale(*y_range, bottom, TOP)
    )
    series, told = [], []
    for n, (name, points) in enumerate(named.items()):
        if not points:
            continue
        drawn = _stepped(points) if name in steps else thinned(points)
        style = n if styles is None else styles[name]
        series.append(Series(name, style, " ".join(f"{x(a)},{y(b)}" for a, b in drawn)))
        told.append(f"{name} from {points[0][1]:,.3f} to {points[-1][1]:,.3f}")
    return Plot(
        title,
        f"{y_label or title} against {x_label}: {'; '.join(told)}.",
        x_label,
        y_label,
        x.ticks(4),
        y.ticks(5),
        tuple(series),
        height,
    )


def thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Returns at most ``POINTS`` of the points, the first and the last among them."""
    if len(points) <= POINTS:
        return list(points)
    last = len(points) - 1
    return [points[round(n * last / (POINTS - 1))] for n in range(POINTS)]


def _stepped(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    corners = [points[0]]
    for x, y in points[1:]:
        corners += [(x, corners[-1][1]), (x, y)]
    return corners
