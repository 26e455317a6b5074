"""The learning curve of a run as a file: one point a line.

``{"curve", "forwards", "total", "best", "text", "mean", "entropy", "unique", "metrics"}``, where
what is not known is left out. A run that goes on replays its log, and with it its curve: lines that
come again as they stand are kept, and the file is cut where the replay departs from it. So a run
that was killed and resumed ends with the same file.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from rlprompt.watch.watcher import Point


class CurveFile:
    """Appends points to a file that may hold some of them already."""

    def __init__(self, path: Path) -> None:
        """Opens the file, which nobody else may write to.

        Raises:
            OSError: it cannot be opened.
        """
        self._file: IO[bytes] = path.open("a+b")
        self._file.seek(0)
        self._ahead = self._file.read().splitlines(keepends=True)[::-1]
        self._size = 0

    def add(self, point: Point) -> Point:
        """Adds a point; returns it with ``told`` set if it stood in the file already.

        Raises:
            OSError: the file cannot be written.
        """
        line = to_line(point)
        told = bool(self._ahead) and self._ahead.pop() == line
        if not told:
            self.cut()
            self._file.write(line)
            self._file.flush()
        self._size += len(line)
        return replace(point, told=told)

    def cut(self) -> None:
        """Takes away what stands in the file behind the last point that was added."""
        self._ahead = []
        self._file.truncate(self._size)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def to_line(point: Point) -> bytes:
    """Returns a point as a line of JSON."""
    row: dict[str, Any] = {"curve": point.curve, "forwards": point.forwards, "total": point.total}
    for name in ("best", "text", "mean", "entropy", "unique"):
        value = getattr(point, name)
        if value is not None:
            row[name] = value
    if point.metrics:
        row["metrics"] = dict(point.metrics)
    return json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def read_curve(path: Path) -> dict[str, list[Point]]:
    """Reads a curve, also while it is written.

    Returns:
        The points of each agent or tuner in order, by its name, in the order of the run; nothing
        where there is no such file. A line that is not whole ends the reading.
    """
    curves: dict[str, list[Point]] = {}
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return {}
    for line in lines:
        try:
            if not line.endswith(b"\n"):
                break
            point = _point(json.loads(line))
        except (ValueError, TypeError, KeyError, AttributeError):
            break
        curves.setdefault(point.curve, []).append(point)
    return curves


def _point(row: dict[str, Any]) -> Point:
    """Makes a point of a row; a row of another make is refused."""
    numbers = {
        name: None if row.get(name) is None else float(row[name])
        for name in ("best", "mean", "entropy", "unique")
    }
    return Point(
        curve=str(row["curve"]),
        forwards=int(row["forwards"]),
        total=int(row["total"]),
        text=str(row.get("text", "")),
        metrics={str(name): float(x) for name, x in row.get("metrics", {}).items()},
        best=numbers["best"],
        mean=numbers["mean"],
        entropy=numbers["entropy"],
        unique=numbers["unique"],
    )
