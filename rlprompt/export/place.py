"""Where an export lies, and the small file that says whose it is and what a check found."""

import json
from pathlib import Path
from typing import Any

from rlprompt.core.errors import RunError
from rlprompt.core.files import write_json
from rlprompt.export.artifact import Artifact, read_facts
from rlprompt.export.protocol import ExportError

#: In an export that is a folder; beside one that is a file it follows the file's name.
ABOUT = "rlprompt.json"


def about_path(path: Path) -> Path:
    """Returns where the facts about an export are: in a folder, or beside a file."""
    return path / ABOUT if path.is_dir() else path.with_name(f"{path.name}.{ABOUT}")


def make_free(path: Path, *, force: bool) -> None:
    """Takes away an earlier export.

    Raises:
        ExportError: what is there is not ours, and ``force`` is not given.
    """
    if not path.exists() and not path.is_symlink():
        return
    about = about_path(path)
    if not about.is_file():
        empty = path.is_dir() and not any(path.iterdir())
        if path.is_dir() and not empty:
            # --force would delete a folder of somebody's.
            raise ExportError(
                f"{path} is a folder with files that no export wrote: choose another --out."
            )
        if not force and not empty:
            raise ExportError(
                f"{path} exists and no export wrote it: choose another --out, or give --force to "
                "have it replaced."
            )
    try:
        for name in _files_of(about) if path.is_dir() else []:
            (path / name).unlink(missing_ok=True)
        about.unlink(missing_ok=True)
        if not path.is_dir():
            path.unlink()
    except OSError as error:
        raise ExportError(f"Cannot replace {path}: {error.strerror or error}.") from error


def _files_of(about: Path) -> list[str]:
    """Returns the names of the files that an earlier export wrote; others in its folder stay."""
    try:
        names = json.loads(about.read_text(encoding="utf-8"))["files"]
        # Plain names only: nothing outside the folder is ever deleted.
        return [Path(name).name for name in names]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def write_about(path: Path, exported_as: str, artifact: Artifact, check: dict[str, Any]) -> Path:
    """Writes the facts about an export and what the check found; returns where.

    Raises:
        RunError: it cannot be written.
    """
    about = about_path(path)
    names = sorted(each.name for each in path.iterdir()) if path.is_dir() else [path.name]
    files = [name for name in names if name != ABOUT]
    write_json(
        about, {"format": exported_as, "files": files, "check": check, "facts": artifact.facts()}
    )
    return about


def facts_beside(path: Path) -> Artifact:
    """Reads the facts about an export.

    Raises:
        RunError: they are missing or damaged.
    """
    about = about_path(path)
    try:
        value = json.loads(about.read_text(encoding="utf-8"))
        return read_facts(value["facts"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"Cannot read {about}: {error}. Export the prompt again.") from error
