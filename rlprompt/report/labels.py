"""Lines that differ in black and white, and names at their ends that never overlap."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

# Marker and dash both differ between neighbours; colours are of Okabe & Ito (2008), which people
# with colour blindness tell apart, and of several lightnesses.
_COLORS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#8B6C00")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "p", "h", "8", "d", "H")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 2, 1, 2)))

LINES: list[dict[str, Any]] = [
    {
        "color": _COLORS[i % len(_COLORS)],
        "marker": marker,
        "linestyle": _DASHES[i % len(_DASHES)],
        "linewidth": 1.1,
        "markersize": 4.5,
        "markerfacecolor": "white" if i % 2 else _COLORS[i % len(_COLORS)],
    }
    for i, marker in enumerate(_MARKERS)
]


def label_lines(
    ax: Axes,
    ends: Mapping[str, tuple[float, float]],
    styles: Mapping[str, Mapping[str, Any]],
    gap: float = 0.068,
) -> None:
    """Writes each line's name to the right of the axes, beside its marker, tied to its end.

    Args:
        ax: its limits are fixed by this.
        ends: last point of each line, in data units; x inf is the right edge.
        styles: keywords of each line.
        gap: least distance of two names, as a fraction of the height of the axes.
    """
    ax.set_xlim(ax.get_xlim())
    ax.set_ylim(ax.get_ylim())
    low, high = ax.get_ylim()
    order = sorted(ends, key=lambda name: (ends[name][1], name))
    wanted = [(ends[name][1] - low) / (high - low) for name in order]
    for name, y in zip(order, spread(wanted, gap), strict=True):
        style = {**styles[name], "linestyle": ""}
        ax.plot([1.06], [y], transform=ax.transAxes, clip_on=False, **style)
        ax.annotate(
            "",
            (min(ends[name][0], ax.get_xlim()[1]), ends[name][1]),
            xytext=(1.045, y),
            textcoords="axes fraction",
            arrowprops={
                "arrowstyle": "-",
                "color": "0.6",
                "linewidth": 0.5,
                "shrinkA": 0,
                "shrinkB": 2,
            },
            annotation_clip=False,
        )
        ax.text(1.08, y, name, transform=ax.transAxes, va="center")


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Moves ascending heights apart until neighbours are ``gap`` apart, each group about its mean.

    >>> [round(y, 2) for y in spread([0.2, 0.5, 0.5], 0.1)]
    [0.2, 0.45, 0.55]

    Args:
        wanted: heights, ascending, 0 to 1.
        gap: least distance; groups are kept within 0 and 1 where there is room.
    """
    groups: list[list[float]] = []
    for height in wanted:
        groups.append([height])
        # Two groups that touch become one; its mean may touch the next.
        while len(groups) > 1 and _bottom(groups[-1], gap) < _top(groups[-2], gap) + gap:
            last = groups.pop()
            groups[-1] += last
    return [_bottom(group, gap) + gap * i for group in groups for i in range(len(group))]


def _bottom(group: Sequence[float], gap: float) -> float:
    """Returns the lowest height of a group."""
    size = gap * (len(group) - 1)
    bottom = sum(group) / len(group) - size / 2
    return max(0.0, min(bottom, 1.0 - size))


def _top(group: Sequence[float], gap: float) -> float:
    """Returns the greatest height of a group."""
    return _bottom(group, gap) + gap * (len(group) - 1)
