"""Where the runs of a comparison stand: told while they run, read by whoever looks on."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from rlprompt.compare import folder
from rlprompt.compare.config import CompareConfig
from rlprompt.compare.group import News
from rlprompt.core.errors import RunError
from rlprompt.core.trials import Setting
from rlprompt.watch.status import StatusFile, ended_by, read_status

#: The file of a run: ``ppo.20000.seed-0.json``.
_RUN = re.compile(r".+\.\d+\.seed-\d+\.json")


@dataclass(frozen=True)
class RunStanding:
    """Where one run stands.

    Attributes:
        setting: which run.
        state: 'waiting', 'running', 'done', 'failed', or 'stopped' where its process is gone.
        forwards: LM forwards charged so far.
        reward: best train reward so far; of a finished run the reward it was selected by.
        text: the prompt that has it, or what went wrong.
    """

    setting: Setting
    state: str = "waiting"
    forwards: int = 0
    reward: float | None = None
    text: str = ""


@dataclass(frozen=True)
class ComparisonStanding:
    """Where a comparison stands.

    Attributes:
        state: 'waiting', 'running', 'stopped' or 'finished'.
        why: what stopped it, '' where that is not known.
        runs: all of them, in the order of the comparison.
    """

    state: str
    why: str
    runs: tuple[RunStanding, ...]


class Standing:
    """Keeps a file in the comparison's folder that says where every run stands."""

    def __init__(self, config: CompareConfig) -> None:
        """Writes nothing yet."""
        self._file = StatusFile(config.out)
        self._runs = {s: RunStanding(s) for group in config.groups for s in config.settings(*group)}

    def __enter__(self) -> "Standing":
        """Writes what is going to be run."""
        self._file.tell(self._values, now=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Takes the file away, or says in it what went wrong."""
        if error is None:
            self._file.remove()
        else:
            self._file.leave(ended_by(error))

    def __call__(self, news: News) -> None:
        """Hears a piece of news."""
        if news.setting is None:
            return
        run = self._runs[news.setting]
        best = news.best_reward if news.state == "running" else run.reward
        text = news.best_text if news.state == "running" else news.line
        self._runs[news.setting] = replace(
            run, state=news.state, forwards=news.forwards, reward=best, text=text
        )
        self._file.tell(self._values)

    def _values(self) -> Mapping[str, Any]:
        return {"runs": [asdict(run) for run in self._runs.values()]}


def read_standing(out: Path) -> ComparisonStanding:
    """Reads where a comparison stands, from its folder only.

    Raises:
        RunError: a file is damaged.
    """
    status = read_status(out)
    listed = [] if status is None else _listed(status.values)
    runs = {run.setting: run for run in listed}
    for path in sorted(out.glob("*/split-*/*.json")):
        if _RUN.fullmatch(path.name):
            done = _of_file(path)
            if done is not None and runs.get(done.setting, done).state != "running":
                runs[done.setting] = done
    if status is None:
        finished = (out / folder.RESULT).exists()
        return ComparisonStanding("finished" if finished else "waiting", "", (*runs.values(),))
    if status.state == "stopped":
        runs = {
            s: replace(run, state="stopped") if run.state == "running" else run
            for s, run in runs.items()
        }
    return ComparisonStanding(status.state, status.why, (*runs.values(),))


def _listed(values: Mapping[str, Any]) -> list[RunStanding]:
    try:
        return [
            RunStanding(**{**row, "setting": Setting(**row["setting"])})
            for row in values.get("runs", [])
        ]
    except (TypeError, KeyError) as error:
        raise RunError(f"The list of runs is of another version: {error}.") from error


def _of_file(path: Path) -> RunStanding | None:
    """Reads the file of a run that was ended, be it by an error; None if it is being replaced."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        setting = Setting(**record["setting"])
        if record.get("error"):
            return RunStanding(setting, "failed", setting.budget, text=str(record["error"]))
        text = str(record["prompt"]["text"])
        return RunStanding(setting, "done", setting.budget, float(record["reward"]), text)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"Cannot read {path}: {error}. Delete it to have it made anew.") from error
