"""Comparisons in children that are killed at random moments, and started again until one is done.

Called by ``test_going_on.py``: ``python kill.py FOLDER SETTINGS [PATTERN ...]`` with the settings
of a CompareConfig as JSON. With patterns the moments are when there is first a file of each. Forked
children share the imports, which take far longer than the runs.
"""

import importlib
import json
import os
import pkgutil
import random
import signal
import sys
import time
from pathlib import Path

KILLS = 6


def main(folder: Path, settings: dict[str, object], patterns: list[str]) -> None:
    import torch
    import wordfreq

    import rlprompt
    from rlprompt.report import figures

    for module in pkgutil.walk_packages(rlprompt.__path__, "rlprompt."):
        importlib.import_module(module.name)
    importlib.import_module("transformers.models.llama.modeling_llama")
    wordfreq.zipf_frequency("film", "en")  # reads its table
    torch.set_num_threads(1)
    figures.write_figures = lambda *args, **rest: []  # takes longer than everything else
    rng = random.Random(0)
    assert run(settings, folder / "whole", until=None) == 0
    lines = count(folder / "whole")
    # Moments all over the runs: after some lines of the logs, then anywhere within a batch.
    stops = patterns or sorted(rng.sample(range(1, lines), KILLS))
    killed, done = [], {}
    for stop in stops:
        delay = 0.0 if patterns else rng.uniform(0, 0.01)
        killed.append(run(settings, folder / "killed", stop, delay))
        for path in folder.glob("killed/*/split-*/*.seed-*.json"):
            done.setdefault(str(path), path.stat().st_mtime_ns)
    assert run(settings, folder / "killed", until=None) == 0
    again = [path for path, when in done.items() if Path(path).stat().st_mtime_ns != when]
    json.dump({"killed": killed, "done": len(done), "again": again}, sys.stdout)


def run(settings: dict[str, object], out: Path, until: int | str | None, delay: float = 0.0) -> int:
    """Runs a child; kills it ``delay`` seconds after its logs have ``until`` lines, or a file is.

    Returns its exit status, the negative signal number if it was killed.
    """
    child = os.fork()
    if child == 0:
        status = 1
        try:
            from rlprompt.compare.compare import compare
            from rlprompt.compare.config import CompareConfig

            compare(CompareConfig.parse({**settings, "out": str(out)}))
            status = 0
        finally:
            os._exit(status)
    if until is None:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    while not any(out.glob(until)) if isinstance(until, str) else count(out) < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def count(out: Path) -> int:
    """Number of whole lines of a comparison's logs."""
    return sum(path.read_bytes().count(b"\n") for path in out.glob("*/*/evaluations.jsonl"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3:])
