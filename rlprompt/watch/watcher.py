"""What a watcher is, and what it is told."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from rlprompt.core.events import Event

#: Phases that learn: their events are points of a curve.
_LEARNING = re.compile(r"(?:search |tune: )(?P<name>.+)")
#: Metrics that say again what the event says itself.
_AGAIN = ("best", "forwards")


@dataclass(frozen=True)
class Job:
    """What is watched.

    Attributes:
        folder: of the run; None where everything stays in memory.
        config: everything that decides the outcome, as JSON values.
        forwards: LM forwards of all phases together, at most; 0 where that is not known.
    """

    folder: Path | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    forwards: int = 0

    @property
    def name(self) -> str:
        """What the job is called where others stand beside it: the name of its folder."""
        return "rlprompt" if self.folder is None else self.folder.resolve().name


@dataclass(frozen=True)
class Point:
    """One point of a learning curve.

    Attributes:
        curve: whose: the name of an agent or tuner.
        forwards: LM forwards charged; grows from point to point of a curve.
        total: LM forwards that may be charged.
        best: best reward so far, None before the first score.
        text: text of the best prompt so far.
        mean: mean reward of the prompts proposed since the point before.
        entropy: of the policy, nats a token.
        unique: distinct prompts that were asked for so far.
        metrics: everything else the agent tells of itself, finite numbers by name.
        told: whether an earlier process of the same run told of this point already.
    """

    curve: str
    forwards: int
    total: int
    best: float | None = None
    text: str = ""
    mean: float | None = None
    entropy: float | None = None
    unique: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    told: bool = False

    def values(self) -> dict[str, float]:
        """Returns all numbers by name: best, mean, entropy and unique as far as known, metrics."""
        own = {name: getattr(self, name) for name in ("best", "mean", "entropy", "unique")}
        return {k: v for k, v in own.items() if v is not None} | dict(self.metrics)


class Watcher(Protocol):
    """Is told of a job. Whatever it raises is logged once, and it is left out from then on."""

    def begin(self, job: Job) -> None:
        """Gets ready; called once, before the first point."""

    def point(self, point: Point) -> None:
        """Hears of a point.

        A run that goes on replays what it did before: these points come again, with ``told``.
        """

    def end(self, outcome: Mapping[str, float | str] | None) -> None:
        """Ends; called once, after the result was written.

        Args:
            outcome: scores and text of the result by name; None where the job was cut short.
        """


def point_of(event: Event) -> Point | None:
    """Returns the point that an event stands for, None if it is of no phase that learns.

    Numbers are cut to six digits, which is more than can be seen, and keeps files small.
    """
    phase = _LEARNING.fullmatch(event.phase)
    if phase is None:
        return None
    finite = {name: _short(x) for name, x in event.metrics.items() if math.isfinite(x)}
    return Point(
        curve=phase["name"],
        forwards=event.forwards,
        total=event.total,
        best=None if event.best_reward is None else _short(event.best_reward),
        text=event.best_text,
        mean=finite.pop("mean_reward", None),
        entropy=finite.pop("entropy", None),
        unique=finite.pop("unique", None),
        metrics={name: x for name, x in finite.items() if name not in _AGAIN},
    )


def _short(value: float) -> float:
    return float(f"{value:.6g}")


def plain_name(name: str) -> str:
    """Returns a name that may stand in a path and in the name of a metric.

    >>> plain_name("my_module:Agent")
    'my_module.Agent'
    """
    return re.sub(r"[^A-Za-z0-9_.+-]+", ".", name).strip(".") or "run"
