"""A file of everything that was ever scored, so that nothing is scored twice.

One line of JSON a batch: ``{"context", "prompts", "shape", "data", "crc", "tokens", "seconds"}``,
where ``data`` is base64 of little-endian float32 log-probabilities of shape (n_prompts, n_examples,
n_labels), ``crc`` the CRC-32 of everything else, and tokens and seconds are what the LM spent on
it; ``saved`` is there where prompts shared tokens. ``prompts`` are lists of token ids; where one
has sizes (:class:`~rlprompt.core.prompt.Prompt`), ``sizes`` has those of all. A batch is in the
file whole or not at all: a line that is not whole is set aside when the file is opened, with all
that follows it. Runs are deterministic, so replaying this file *is* the resume.
"""

import base64
import json
import logging
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from rlprompt.core.errors import RunError
from rlprompt.core.evaluation import FloatArray
from rlprompt.core.prompt import Prompt

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has no flock; two runs there are not kept apart
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)
Key = tuple[str, Prompt]


@dataclass(frozen=True, eq=False)
class Batch:
    """What one LM call cost.

    Attributes:
        tokens: tokens through the LM, cached left sides not counted.
        seconds: wall seconds inside the LM.
        saved: tokens more that it would have been, had prompts not shared what they begin with.
    """

    tokens: int = 0
    seconds: float = 0.0
    saved: int = 0


@dataclass(frozen=True, eq=False)
class Call:
    """One line of the file: what was scored together.

    Attributes:
        context: names LM, template, label words and examples.
        prompts: the prompts, distinct.
        scores: log-probabilities, shape (n_prompts, n_examples, n_labels).
        batch: what it cost.
    """

    context: str
    prompts: tuple[Prompt, ...]
    scores: FloatArray
    batch: Batch


def read_calls(path: Path) -> Iterator[Call]:
    """Reads a log in the order it was written, without opening it for writing or mending it.

    A line that is not whole ends the reading, as what follows it is set aside when the run goes on.

    Raises:
        RunError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            for line in file:
                try:
                    call = _parsed(line)
                except (ValueError, KeyError, TypeError) as error:
                    log.warning("%s is damaged (%s): only what stands before is read.", path, error)
                    return
                yield call
    except OSError as error:
        raise RunError(f"Cannot read {path}: {error.strerror or error}.") from error


class EvaluationLog:
    """Scores by context and prompt, in memory and, with a path, on disk.

    A context is a string that names LM, template, label words and examples.
    """

    def __init__(self, path: Path | None = None) -> None:
        """Opens the log and reads what is there.

        Args:
            path: file to read and append to; None keeps scores in memory only.

        Raises:
            RunError: another process writes to it, or it cannot be opened.
        """
        self._path = path
        self._scores: dict[Key, FloatArray] = {}
        self._batches: dict[Key, Batch] = {}
        self._file: IO[bytes] | None = None
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b")
        except OSError as error:
            raise RunError(f"Cannot open {path}: {error.strerror or error}.") from error
        self._lock()
        self._read()

    def __len__(self) -> int:
        """Number of scored prompts, all contexts together."""
        return len(self._scores)

    def __bool__(self) -> bool:
        """True: an empty log is a log, not the lack of one."""
        return True

    def get(self, context: str, prompt: Prompt) -> FloatArray | None:
        """Returns log-probabilities of shape (n_examples, n_labels), None if never scored."""
        return self._scores.get((context, prompt))

    def batch(self, context: str, prompt: Prompt) -> Batch:
        """Returns the LM call in which a prompt of the log was scored."""
        return self._batches[(context, prompt)]

    def put(
        self,
        context: str,
        prompts: Sequence[Prompt],
        scores: Sequence[FloatArray],
        batch: Batch | None = None,
    ) -> None:
        """Adds a batch; on return it is on its way to the disk, whole.

        Args:
            context: names LM, template, label words and examples.
            prompts: prompts that are not in the log under this context.
            scores: for each, float32 values of shape (n_examples, n_labels).
            batch: what the LM call cost.

        Raises:
            RunError: the file cannot be written; what was there before stays usable.
        """
        batch = batch or Batch()
        for prompt, score in zip(prompts, scores, strict=True):
            self._scores[(context, prompt)] = score
            self._batches[(context, prompt)] = batch
        if self._file is None or not prompts:
            return
        values = np.stack(scores).astype("<f4")
        entry = {
            "context": context,
            "prompts": [list(p.ids) for p in prompts],
            "shape": list(values.shape),
            "data": base64.b64encode(values.tobytes()).decode(),
            "tokens": batch.tokens,
            "seconds": round(batch.seconds, 6),
        }
        if batch.saved:
            entry["saved"] = batch.saved
        if any(p.sizes for p in prompts):
            entry["sizes"] = [list(p.sizes) for p in prompts]
        line = json.dumps(entry | {"crc": _checksum(entry)}, separators=(",", ":"))
        try:
            self._file.write(line.encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise RunError(
                f"Cannot write {self._path}: {error.strerror or error}. What was scored before is "
                "kept: make room and give the same command again."
            ) from error

    def close(self) -> None:
        """Closes the file; scores stay readable."""
        if self._file is not None:
            try:
                self._file.close()
            except OSError as error:
                log.warning("closing %s: %s", self._path, error)
            self._file = None

    def __enter__(self) -> "EvaluationLog":
        """Returns itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the file."""
        self.close()

    def _lock(self) -> None:
        if fcntl is None or self._file is None:
            return
        try:
            fcntl.flock(self._file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            self._file = None
            raise RunError(
                f"{self._path} is in use by another process: wait for it, or choose another --out."
            ) from error

    def _read(self) -> None:
        assert self._file is not None
        self._file.seek(0)
        whole = 0
        for line in self._file:
            try:
                self._take(line)
            except (ValueError, KeyError, TypeError) as error:
                self._set_aside(whole, error)
                break
            whole += len(line)
        self._file.seek(0, os.SEEK_END)

    def _take(self, line: bytes) -> None:
        call = _parsed(line)
        for prompt, score in zip(call.prompts, call.scores, strict=True):
            key = (call.context, prompt)
            self._scores[key] = score
            self._batches[key] = call.batch

    def _set_aside(self, whole: int, error: Exception) -> None:
        """Moves everything from the first bad line on to a file of its own."""
        assert self._file is not None
        assert self._path is not None
        self._file.seek(whole)
        tail = self._file.read()
        n = 1
        while (broken := self._path.with_name(f"{self._path.name}.broken-{n}")).exists():
            n += 1
        try:
            broken.write_bytes(tail)
            self._file.truncate(whole)
        except OSError as failed:
            broken.unlink(missing_ok=True)
            self.close()
            raise RunError(
                f"{self._path} is damaged, and its broken end cannot be set aside in "
                f"{broken.name}: {failed.strerror or failed}."
            ) from failed
        log.warning(
            "%s was damaged after %d scored prompts (%s): %d bytes are set aside in %s, the rest "
            "is used.",
            self._path,
            len(self._scores),
            error,
            len(tail),
            broken.name,
        )


def _parsed(line: bytes) -> Call:
    if not line.endswith(b"\n"):
        raise ValueError("the last line is cut off")
    entry: Any = json.loads(line)
    if not isinstance(entry, dict) or entry.pop("crc") != _checksum(entry):
        raise ValueError("the checksum is wrong")
    data = base64.b64decode(entry["data"], validate=True)
    values = np.frombuffer(data, "<f4").reshape(entry["shape"]).astype(np.float64)
    sizes = entry.get("sizes", [()] * len(values))
    prompts = [
        Prompt(tuple(ids), tuple(own)) for ids, own in zip(entry["prompts"], sizes, strict=True)
    ]
    if len(prompts) != len(values):
        raise ValueError("prompts and scores are not of one number")
    batch = Batch(int(entry["tokens"]), float(entry["seconds"]), int(entry.get("saved", 0)))
    return Call(entry["context"], tuple(prompts), values, batch)


def _checksum(entry: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(entry, sort_keys=True).encode())
