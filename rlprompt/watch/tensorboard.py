"""Learning curves for TensorBoard."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlprompt.core.errors import ConfigError
from rlprompt.watch.watcher import Job, Point, plain_name

FOLDER = "tensorboard"
#: Where the numbers that every curve has stand; what else an agent tells is under 'agent'.
_TAGS = {
    "best": "reward/best",
    "mean": "reward/mean",
    "entropy": "search/entropy",
    "unique": "search/unique",
}


class TensorBoard:
    """Writes event files, a folder an agent, with LM forwards as steps.

    A run that goes on is replayed from its start, and writes its curves anew: the files of the
    process before are taken away, so no point stands there twice and none is missing.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        """Makes a watcher.

        Args:
            folder: where to write; None for ``tensorboard/`` in the run's own folder, and for
                nothing at all where the run has none.
        """
        self._given = None if folder is None else Path(folder)
        self._folder: Path | None = None
        self._writers: dict[str, Any] = {}

    def begin(self, job: Job) -> None:
        """See :class:`Watcher`."""
        own = None if job.folder is None else job.folder / FOLDER
        self._folder = self._given or own
        if self._folder is not None:
            _event_file_writer()  # what is missing is told now

    def point(self, point: Point) -> None:
        """See :class:`Watcher`."""
        if self._folder is None:
            return
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        writer = self._writer(self._folder, point.curve)
        values = [
            Summary.Value(tag=_TAGS.get(name, f"agent/{plain_name(name)}"), simple_value=value)
            for name, value in point.values().items()
        ]
        summary = Summary(value=values)
        writer.add_event(Event(wall_time=time.time(), step=point.forwards, summary=summary))
        writer.flush()

    def end(self, outcome: Mapping[str, float | str] | None) -> None:
        """See :class:`Watcher`."""
        for writer in self._writers.values():
            writer.close()

    def _writer(self, folder: Path, curve: str) -> Any:
        if curve not in self._writers:
            from tensorboard.compat.proto.event_pb2 import Event, SessionLog

            own = folder / plain_name(curve)
            for old in own.glob("events.out.tfevents.*"):
                old.unlink()
            self._writers[curve] = _event_file_writer()(str(own))
            # A server that has read the old files forgets them at this mark.
            start = SessionLog(status=SessionLog.START)
            self._writers[curve].add_event(Event(wall_time=time.time(), step=0, session_log=start))
        return self._writers[curve]


def _event_file_writer() -> Any:
    """Returns the class that writes event files, which torch's SummaryWriter writes with as well.

    Raises:
        ConfigError: TensorBoard is not installed.
    """
    try:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError as error:
        raise ConfigError(
            f"Curves for TensorBoard need a package: pip install 'rlprompt[tensorboard]' ({error})."
        ) from error
    return EventFileWriter
