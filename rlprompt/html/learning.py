"""The course of a search: rewards, distinct prompts and the policy's entropy."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np

from rlprompt.core.result import Result, Search
from rlprompt.html.archive import Archive
from rlprompt.run import folder
from rlprompt.watch.curve import read_curve

Points: TypeAlias = tuple[tuple[float, float], ...]  # (LM forwards, value)

#: Parts that the prompts of a search are averaged over, where nothing was logged.
PARTS = 30


@dataclass(frozen=True)
class Learning:
    """Values against LM forwards, all in the order of the search.

    Attributes:
        best: best train reward so far of every agent, by name, the run's own first.
        mean: mean train reward of what the run's own agent proposed.
        unique: distinct prompts that it had scored.
        entropy: of its policy, in nats a token.
        notes: where the values are from, and what is missing and why, one sentence each.
    """

    best: Mapping[str, Points]
    mean: Points = ()
    unique: Points = ()
    entropy: Points = ()
    notes: tuple[str, ...] = field(default=())


def read_learning(run: Path, result: Result, archive: Archive) -> Learning:
    """Reads what a run left of its course: its result, its learning curve, its evaluation log.

    Args:
        run: folder of the run.
        result: its result.
        archive: what its log holds.
    """
    searches = {result.main.agent: result.main, **result.controls}
    best = {name: _best(search) for name, search in searches.items()}
    curve = read_curve(run / folder.CURVE).get(result.main.agent, [])
    mean = tuple((float(p.forwards), p.mean) for p in curve if p.mean is not None)
    entropy = tuple((float(p.forwards), p.entropy) for p in curve if p.entropy is not None)
    unique = tuple((float(p.forwards), float(p.unique)) for p in curve if p.unique is not None)
    notes = []
    if not curve:
        unique, mean = _of_archive(result.main, archive)
    if not curve and unique:
        notes = [
            f"Mean reward is over {PARTS} equal parts of the prompts in the order of scoring, "
            "those that came free with longer ones included.",
            "Forwards of single prompts are known at improvements and interpolated in between.",
        ]
    if not entropy:
        notes.append("No entropy: only a policy has one.")
    return Learning(best, mean, unique, entropy, tuple(notes))


def _best(search: Search) -> Points:
    points = [(float(step["forwards"]), float(step["reward"])) for step in search.trace]
    last = dict(points)  # several improvements of one call stand at one place
    if points:
        last[float(search.ledger["search_forwards"])] = points[-1][1]
    return tuple(last.items())


def _of_archive(search: Search, archive: Archive) -> tuple[Points, Points]:
    """Returns distinct prompts and mean rewards against interpolated forwards."""
    rows = archive.in_order
    if not rows:
        return (), ()
    anchors = {0: 0.0} | {
        n + 1: float(row.forwards) for n, row in enumerate(rows) if row.forwards is not None
    }
    anchors[len(rows)] = float(search.ledger["search_forwards"])
    numbers = np.arange(1, len(rows) + 1)
    at = np.interp(numbers, list(anchors), np.maximum.accumulate(list(anchors.values())))
    unique = tuple((float(x), float(n)) for n, x in zip(numbers, at, strict=True))
    parts = [part for part in np.array_split(numbers - 1, PARTS) if len(part)]
    means = tuple(
        (float(at[part[-1]]), float(np.mean([rows[n].reward for n in part]))) for part in parts
    )
    return ((0.0, 0.0), *unique), means
