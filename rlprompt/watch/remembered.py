"""The id under which a service knows a run, so that a run that goes on stays one run there."""

import json
from pathlib import Path

from rlprompt.core.files import write_json

_FILE = "rlprompt.json"


def remembered(folder: Path | None, where: str) -> str | None:
    """Returns the id that an earlier process of the run kept, None if there is none.

    Args:
        folder: where it was kept.
        where: server or project; an id of another one is none here.
    """
    if folder is None:
        return None
    try:
        kept = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        return str(kept["run_id"]) if kept["where"] == where else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember(folder: Path | None, where: str, run_id: str) -> None:
    """Keeps the id.

    Raises:
        RunError: it cannot be written.
    """
    if folder is not None:
        write_json(folder / _FILE, {"where": where, "run_id": run_id})
