"""The folder of a run: whose it is, and what is in it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlprompt.core.errors import RunError
from rlprompt.core.files import write_json
from rlprompt.core.result import FILE
from rlprompt.watch import tensorboard, watching

CONFIG = "config.json"
RESULT = FILE
PROMPT = "prompt.txt"
VOCABULARY = "vocabulary.json"
EVALUATIONS = "evaluations.jsonl"
TENSORBOARD = tensorboard.FOLDER
CURVE = watching.CURVE


def claim(folder: Path, outcome: Mapping[str, Any]) -> None:
    """Makes the folder a run's own, or finds that it is already.

    Args:
        folder: the folder.
        outcome: everything that decides what comes out of the run, as JSON values.

    Raises:
        RunError: it belongs to another configuration (says what differs), holds other files, or
            cannot be written.
    """
    path = folder / CONFIG
    wanted = json.loads(json.dumps(outcome))
    if path.exists():
        try:
            there = dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise RunError(f"Cannot read {path}: {error}. Choose another --out.") from error
        if there != wanted:
            names = [k for k in {**there, **wanted} if there.get(k) != wanted.get(k)]
            raise RunError(
                f"{folder} belongs to another run: "
                + "; ".join(f"{k} was {there.get(k)!r}, now {wanted.get(k)!r}" for k in names)
                + ". Choose another --out, or give the same settings to go on with it."
            )
        return
    if folder.exists() and (not folder.is_dir() or any(map(_is_foreign, folder.iterdir()))):
        raise RunError(f"{folder} is no run and not empty: choose another --out.")
    write_json(path, wanted)


def _is_foreign(path: Path) -> bool:
    """Whether a file is more than what a run leaves that was killed while it wrote its first."""
    return not (path.name.startswith(f".{CONFIG}.") and path.suffix == ".tmp")
