"""Files that are whole or not there at all."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from rlprompt.core.errors import RunError


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text so that a reader sees the old content or the new, never a part.

    Raises:
        RunError: the file cannot be written (no space left, no permission).
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise RunError(f"Cannot write {path}: {error.strerror or error}.") from error


def write_json(path: Path, value: Any) -> None:
    """Writes indented JSON, whole or not at all; NaN is refused rather than written."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
