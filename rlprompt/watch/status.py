"""Where a job stands, in a small file that is there while it runs.

``progress.json`` holds process id, host, times and whatever the job tells of itself. It is taken
away when the job is finished; one that is left without its process is of a killed job.
"""

import json
import logging
import os
import platform
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlprompt.core.errors import RLPromptError
from rlprompt.core.files import write_json

log = logging.getLogger(__name__)

PROGRESS = "progress.json"
#: Seconds between two writings, between two looks at the speed, and after which speed is old.
EVERY, WINDOW = 1.0, 60.0
#: Seconds that a job on another machine may be silent before it counts as gone.
SILENCE = 900.0


class StatusFile:
    """Writes the file, at most once a second; one that cannot be written stops nobody."""

    def __init__(self, folder: Path) -> None:
        """Takes over the folder: what a killed process left is taken away."""
        self._path = folder / PROGRESS
        self._values: dict[str, Any] = {}
        self._written = 0.0
        self._works = True
        try:
            for torn in folder.glob(f".{PROGRESS}.*.tmp"):
                torn.unlink(missing_ok=True)
        except OSError as error:
            self._give_up(error)

    def tell(self, values: Callable[[], Mapping[str, Any]], *, now: bool = False) -> None:
        """Writes values, if the last writing is not too recent.

        Args:
            values: returns what is written; called only then.
            now: write, however recent that is.
        """
        if now or time.monotonic() - self._written >= EVERY:
            self._values = dict(values())
            self._write("")

    def leave(self, why: str) -> None:
        """Writes that the job ended before it was finished."""
        self._write(why)

    def remove(self) -> None:
        """Takes the file away."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            self._give_up(error)

    def _write(self, ended: str) -> None:
        self._written = time.monotonic()
        own = {"pid": os.getpid(), "host": platform.node(), "updated": round(time.time(), 1)}
        if not self._works:
            return
        try:
            write_json(self._path, {**own, "ended": ended, **self._values})
        except RLPromptError as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        if self._works:
            log.warning("%s is not kept from here on (%s); the job goes on.", self._path, error)
        self._works = False


class Speed:
    """LM forwards a second over the last minute; what is replayed does not count."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Starts with nothing known.

        Args:
            clock: seconds from any moment on.
        """
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque()

    def add(self, forwards: int, *, replayed: bool = False) -> None:
        """Hears how many forwards were charged so far, in all phases."""
        if replayed or (self._seen and forwards < self._seen[-1][1]):
            self._seen.clear()
        now = self._clock()
        self._seen.append((now, forwards))
        while len(self._seen) > 2 and now - self._seen[0][0] > WINDOW:
            self._seen.popleft()

    @property
    def per_second(self) -> float | None:
        """The speed, None before it can be told."""
        if len(self._seen) < 2:
            return None
        (start, before), (end, after) = self._seen[0], self._seen[-1]
        return (after - before) / (end - start) if end > start else None


@dataclass(frozen=True)
class Status:
    """What the file of a job says.

    Attributes:
        state: 'running', or 'stopped' where the process is gone.
        why: what ended it, '' where that is not known.
        age: seconds since the file was written.
        values: what the job told of itself.
    """

    state: str
    why: str
    age: float
    values: Mapping[str, Any]


def read_status(folder: Path) -> Status | None:
    """Reads where the job of a folder stands; None if there is no whole file."""
    try:
        values = json.loads((folder / PROGRESS).read_text(encoding="utf-8"))
        age = max(0.0, time.time() - float(values["updated"]))
        gone = bool(values["ended"]) or _gone(int(values["pid"]), str(values["host"]), age)
        return Status("stopped" if gone else "running", str(values["ended"]), age, values)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _gone(pid: int, host: str, age: float) -> bool:
    if host != platform.node() or os.name != "posix":
        return age > SILENCE
    try:
        os.kill(pid, 0)  # signal 0 asks whether there is such a process
    except ProcessLookupError:
        # In a container of its own a live process has another id here: it is heard of instead.
        return age > 10 * EVERY
    except OSError:
        return False  # there, and not ours
    return False


def ended_by(error: BaseException | None) -> str:
    """Returns what is told of an error that ended a job, '' where there is none."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return "" if error is None else str(error) or type(error).__name__
