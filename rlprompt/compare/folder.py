"""The folder of a comparison: a small file a run, an evaluation log and a test file a split."""

import json
import re
from pathlib import Path
from typing import Any

from rlprompt.core.errors import RunError
from rlprompt.core.files import write_json
from rlprompt.core.trials import Setting

SCHEMA = 1
RESULT = "comparison.json"
TABLE = "comparison.md"
EVALUATIONS = "evaluations.jsonl"
TEST = "test.json"


def group_folder(out: Path, task: str, split_seed: int) -> Path:
    """Returns the folder of a task's split: ``OUT/movie-reviews/split-13``."""
    return out / slug(task) / f"split-{split_seed}"


def run_file(out: Path, setting: Setting) -> Path:
    """Returns the file of one run."""
    name = f"{slug(setting.method)}.{setting.budget}.seed-{setting.seed}.json"
    return group_folder(out, setting.task, setting.split_seed) / name


def slug(name: str) -> str:
    """Returns a name that can be a file's.

    >>> slug("benchmarks/sst-2/task.toml"), slug("genetic+racing")
    ('benchmarks_sst-2_task.toml', 'genetic+racing')
    """
    plain = re.sub(r"[^A-Za-z0-9.+-]+", "_", name).strip("_")
    return plain if plain.strip(".") else "_"  # '..' would be the folder above


def read(path: Path) -> dict[str, Any] | None:
    """Reads a file of ours, None where there is none.

    Raises:
        RunError: it is damaged, or of another schema.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RunError(f"Cannot read {path}: {error}. Delete it to have it made anew.") from error
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        raise RunError(f"{path} is of another version: choose another --out, or delete it.")
    return value


def write(path: Path, value: dict[str, Any]) -> None:
    """Writes a file of ours, whole or not at all."""
    write_json(path, {"schema": SCHEMA, **value})
