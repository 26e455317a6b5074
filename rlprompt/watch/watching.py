"""Stands between a run and those who watch it."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from types import TracebackType
from typing import Any

from rlprompt.core.errors import ConfigError
from rlprompt.core.events import Event
from rlprompt.core.registry import Registry
from rlprompt.watch.curve import CurveFile
from rlprompt.watch.status import Speed, StatusFile, ended_by
from rlprompt.watch.tensorboard import TensorBoard
from rlprompt.watch.watcher import Job, Point, Watcher, point_of

log = logging.getLogger(__name__)
CURVE = "curve.jsonl"
#: Stands for leaving out TensorBoard.
NONE = "none"

WATCHERS: Registry[type[Watcher]] = Registry("watcher")
for _name, _target, _summary in (
    ("tensorboard", "tensorboard:TensorBoard", "event files in the run's folder (the default)"),
    ("wandb", "wandb:WandB", "Weights & Biases; WANDB_MODE, WANDB_PROJECT, ... say where to"),
    ("mlflow", "mlflow:MLflow", "MLflow; in the run's folder, or at MLFLOW_TRACKING_URI"),
):
    WATCHERS.register(_name, f"rlprompt.watch.{_target}", _summary)


def watchers_of(watch: Iterable[Watcher | str]) -> list[Watcher]:
    """Returns watchers: those given, and TensorBoard where it is installed.

    Args:
        watch: watchers, or registered names or import paths of such that need no settings; 'none'
            leaves out TensorBoard.

    Raises:
        ConfigError: a name is unknown, or what it stands for cannot be made.
    """
    wanted = [watch] if isinstance(watch, str) else [*watch]
    names = [each for each in wanted if isinstance(each, str)]
    made = [_made(each) if isinstance(each, str) else each for each in wanted if each != NONE]
    for each in made:
        if not all(callable(getattr(each, name, None)) for name in ("begin", "point", "end")):
            raise ConfigError(
                f"{each!r} is no watcher: it must have the methods begin, point and end."
            )
    has_one = any(isinstance(each, TensorBoard) for each in made)
    if NONE not in names and not has_one and find_spec("tensorboard") is not None:
        made.insert(0, TensorBoard())
    return made


def _made(name: str) -> Watcher:
    kind: Callable[[], Watcher] = WATCHERS.get_any(name)
    try:
        return kind()
    except TypeError as error:
        raise ConfigError(f"The watcher {name!r} cannot be made by its name: {error}.") from error


class Watching:
    """A listener of events that keeps a run's curve and tells its watchers.

    Use it as a context manager around the run. Nothing that goes wrong here reaches the run: it is
    logged once, and the part that failed is left out from then on.
    """

    def __init__(self, job: Job, watchers: Iterable[Watcher]) -> None:
        """Makes the listener; nothing is opened.

        Args:
            job: what is watched.
            watchers: who is told.
        """
        self._job = job
        self._watchers = [*watchers]
        self._broken: set[int] = set()
        self._curve: CurveFile | None = None
        self._status: StatusFile | None = None
        self._last: Point | None = None
        self._speed = Speed()
        self._phase = Event("", 0, 0)
        self._before = 0
        self._started = round(time.time(), 1)
        self._outcome: Mapping[str, float | str] | None = None

    def __enter__(self) -> "Watching":
        """Opens the files of the folder and lets the watchers get ready."""
        folder = self._job.folder
        if folder is not None:
            self._curve = self._safely(self, CurveFile, folder / CURVE)
            self._status = StatusFile(folder)
        for each in self._watchers:
            self._safely(each, each.begin, self._job)
        self._tell(now=True)
        return self

    def __call__(self, event: Event) -> None:
        """Hears an event."""
        if event.phase != self._phase.phase:
            self._before += self._phase.total
        self._phase = event
        point = point_of(event)
        replayed = False
        # A point a place: a batch that cost nothing adds none.
        if point is not None and not self._stands(point):
            self._last = point = self._kept(point)
            replayed = point.told
            for each in self._watchers:
                self._safely(each, each.point, point)
        self._speed.add(self._before + event.forwards, replayed=replayed)
        self._tell()

    def finish(self, outcome: Mapping[str, float | str]) -> None:
        """Hears what came of the run; told to the watchers at the end."""
        self._outcome = outcome

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes everything."""
        if self._curve is not None:
            if self._outcome is not None:
                self._safely(self, self._curve.cut)
            self._safely(self, self._curve.close)
        if self._status is not None and self._outcome is not None:
            self._status.remove()
        elif self._status is not None:
            self._status.leave(ended_by(error))
        for each in self._watchers:
            self._safely(each, each.end, self._outcome)

    def _stands(self, point: Point) -> bool:
        last = self._last
        return last is not None and (last.curve, last.forwards) == (point.curve, point.forwards)

    def _kept(self, point: Point) -> Point:
        curve = self._curve
        return (self._safely(self, curve.add, point) if curve else None) or point

    def _tell(self, *, now: bool = False) -> None:
        if self._status is not None:
            self._status.tell(self._standing, now=now)

    def _standing(self) -> dict[str, Any]:
        event, rate = self._phase, self._speed.per_second
        left = self._job.forwards - self._before - event.forwards
        return {
            "started": self._started,
            "phase": event.phase,
            "forwards": event.forwards,
            "total": event.total,
            "per_second": None if rate is None else round(rate, 2),
            "seconds_left": round(left / rate) if rate and self._job.forwards else None,
        }

    def _safely(self, part: object, act: Callable[..., Any], *given: Any) -> Any:
        """Does something for a part; a part that fails is told of once and never asked again."""
        if id(part) in self._broken:
            return None
        try:
            return act(*given)
        except Exception as error:
            self._broken.add(id(part))
            log.warning(
                "%s fails and is left out from here on; the run goes on (%s: %s).",
                CURVE if part is self else type(part).__name__,
                type(error).__name__,
                str(error).strip() or "no message",
            )
            return None
