"""Where a run stands, read from its folder by whoever looks on, in any process."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rlprompt.core.errors import RunError
from rlprompt.core.result import Result
from rlprompt.run import folder
from rlprompt.watch.curve import read_curve
from rlprompt.watch.status import read_status
from rlprompt.watch.watcher import Point


@dataclass(frozen=True)
class RunStanding:
    """Where a run stands.

    Attributes:
        config: what was asked, from the run's own file.
        state: 'waiting' (nothing is scored yet), 'running', 'stopped' (its process is gone) or
            'finished'.
        why: what stopped it, '' where that is not known.
        curves: points of the run's agent and of its controls, by name.
        status: what the running process tells of itself: phase, forwards, total, speed.
        result: what came of it.
    """

    config: Mapping[str, Any]
    state: str
    why: str
    curves: Mapping[str, list[Point]]
    status: Mapping[str, Any]
    result: Result | None


def read_config(path: Path) -> dict[str, Any] | None:
    """Reads what the folder of a run or of a comparison was made for; None before it is there.

    Raises:
        RunError: the folder is something else.
    """
    try:
        config = json.loads((path / folder.CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError:
        if path.is_dir() and any(not each.name.startswith(".") for each in path.iterdir()):
            raise RunError(f"{path} holds neither a run nor a comparison.") from None
        return None
    except (OSError, ValueError) as error:
        raise RunError(f"Cannot read {path / folder.CONFIG}: {error}.") from error
    if not isinstance(config, dict) or "command" in config or "reward" not in config:
        raise RunError(f"{path} holds neither a run nor a comparison.")
    return config


def read_standing(path: Path, config: Mapping[str, Any]) -> RunStanding:
    """Reads where a run stands.

    Args:
        path: its folder.
        config: of :func:`read_config`.

    Raises:
        RunError: its result cannot be read.
    """
    status = read_status(path)
    curves = read_curve(path / folder.CURVE)
    if (path / folder.RESULT).exists():
        result = Result.load(path / folder.RESULT)
        return RunStanding(config, "finished", "", curves or _traces(result), {}, result)
    if status is None:
        return RunStanding(config, "stopped" if curves else "waiting", "", curves, {}, None)
    return RunStanding(config, status.state, status.why, curves, status.values, None)


def _traces(result: Result) -> dict[str, list[Point]]:
    """Makes curves of the improvements alone, for a run that kept no others."""
    curves = {}
    for search in (result.main, *result.controls.values()):
        total = int(result.budget["search"])
        points = [
            Point(search.agent, int(row["forwards"]), total, float(row["reward"]), str(row["text"]))
            for row in search.trace
        ]
        if points:
            points.append(replace(points[-1], forwards=int(search.ledger["search_forwards"])))
        curves[search.agent] = points
    return curves
