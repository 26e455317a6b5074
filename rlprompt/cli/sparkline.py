"""Curves as a line of text."""

from collections.abc import Sequence

BLOCKS, ASCII = "▁▂▃▄▅▆▇█", "_.-=+*#@"


def sparkline(
    points: Sequence[tuple[float, float]],
    width: int,
    *,
    low: float | None = None,
    high: float | None = None,
    marks: str = BLOCKS,
) -> str:
    """Draws a curve.

    Args:
        points: places and values, places ascending.
        width: characters, at most; each stands for an equal part of the way, and shows its last
            value, or the one before where it has none.
        low: value of the lowest mark; None for the least value.
        high: value of the highest mark; None for the greatest.
        marks: from low to high.

    >>> sparkline([(0, 1.0), (5, 2.0), (10, 8.0)], 3)
    '▁▂█'
    >>> sparkline([(0, 1.0)], 10)
    '▅'
    """
    if not points or width < 1:
        return ""
    values = _resampled(points, min(width, len(points)))
    low = min(values) if low is None else low
    high = max(values) if high is None else high
    if high <= low:
        return marks[len(marks) // 2] * len(values)
    top = len(marks) - 1
    shares = [min(max((value - low) / (high - low), 0.0), 1.0) for value in values]
    return "".join(marks[round(share * top)] for share in shares)


def _resampled(points: Sequence[tuple[float, float]], width: int) -> list[float]:
    start, end = points[0][0], points[-1][0]
    if end <= start:
        return [points[-1][1]]
    values: list[float | None] = [None] * width
    for place, value in points:
        values[min(int((place - start) / (end - start) * width), width - 1)] = value
    filled: list[float] = []
    for each in values:
        filled.append(filled[-1] if each is None else each)
    return filled
