"""The process in which an export is read back: nothing of a target library gets out of it."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rlprompt.core.files import write_json
from rlprompt.export.protocol import make_exporter


def main(request_path: str, answer_path: str) -> None:
    """Reads an export as a request says.

    Args:
        request_path: JSON file with 'format', 'path', 'examples' (fields of each) and 'threads'.
        answer_path: where the readings go: 'library' ('' where it is not installed), 'readings'.
    """
    request: dict[str, Any] = json.loads(Path(request_path).read_text(encoding="utf-8"))
    exporter = make_exporter(request["format"])
    library = exporter.target.version()
    readings = []
    if library:
        _quiet(request["threads"])
        readings = [*exporter.read(Path(request["path"]), request["examples"])]
    write_json(
        Path(answer_path), {"library": library, "readings": [asdict(each) for each in readings]}
    )


def _quiet(threads: int | None) -> None:
    """Keeps to the given threads, and transformers from drawing bars."""
    import torch
    from transformers.utils import logging

    if threads is not None:
        torch.set_num_threads(threads)
    hf_logging: Any = logging
    hf_logging.disable_progress_bar()


if __name__ == "__main__":
    main(*sys.argv[1:])
