"""The course of a search: rewards, distinct prompts and the policy's entropy."""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeAlias

import numpy as np

from rlprompt.core.result import Result, Search
from rlprompt.html.archive import Archive
from rlprompt.run import folder

log = logging.getLogger(__name__)

Points: TypeAlias = tuple[tuple[float, float], ...]  # (LM forwards, value)

#: Parts that the prompts of a search are averaged over, where nothing was logged.
PARTS = 30
FORWARDS, MEAN, ENTROPY = "rlprompt/forwards", "rlprompt/mean_reward", "train/entropy_loss"


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
    """Reads what a run left of its course: its result, its evaluation log, its TensorBoard files.

    Args:
        run: folder of the run.
        result: its result.
        archive: what its log holds.
    """
    searches = {result.main.agent: result.main, **result.controls}
    best = {name: _best(search) for name, search in searches.items()}
    scalars, notes = _scalars(run / folder.TENSORBOARD)
    unique, means = _of_archive(result.main, archive)
    mean = scalars.get(MEAN, ())
    if mean:
        notes.append("Mean reward and entropy are those that the agent logged for TensorBoard.")
    elif means:
        mean = means
        notes.append(
            f"Mean reward is over {PARTS} equal parts of the prompts in the order of scoring, "
            "those that came free with longer ones included."
        )
    if unique:
        notes.append(
            "Forwards of single prompts are known at improvements and interpolated in between."
        )
    entropy = tuple((x, -y) for x, y in scalars.get(ENTROPY, ()))
    if not entropy:
        notes.append("No entropy: only a policy has one, and only TensorBoard files hold it.")
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


def _scalars(path: Path) -> tuple[dict[str, Points], list[str]]:
    """Reads the curves that are there for TensorBoard, each against LM forwards."""
    runs = [each for each in path.glob("*") if each.is_dir()] if path.is_dir() else []
    if not runs:
        return {}, []
    try:
        version("tensorboard")
    except PackageNotFoundError:
        return {}, [
            f"{path.name}/ holds more curves, which take the package tensorboard to read: "
            "pip install 'rlprompt[tensorboard]'."
        ]
    # A run that went on has a folder a start; a replay writes what was there before again.
    found: dict[str, Points] = {}
    for each in sorted(runs, key=_number):
        again = _read_events(each)
        if len(again.get(FORWARDS, ())) >= len(found.get(FORWARDS, ())):
            found = again
    forwards = dict(found.get(FORWARDS, ()))
    return {
        tag: tuple((forwards[step], value) for step, value in points if step in forwards)
        for tag, points in found.items()
        if tag in (MEAN, ENTROPY)
    }, []


def _read_events(path: Path) -> dict[str, Points]:
    """Returns (step, value) of each scalar; nothing where the files cannot be read."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(path), size_guidance={"scalars": 0})
    events.Reload()
    tags: Sequence[str] = events.Tags()["scalars"]
    return {
        tag: tuple((float(each.step), float(each.value)) for each in events.Scalars(tag))
        for tag in tags
    }


def _number(path: Path) -> tuple[int, str]:
    digits = re.search(r"(\d+)$", path.name)
    return (int(digits[1]) if digits else 0, path.name)
