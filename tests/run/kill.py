"""Runs in children that are killed at random moments, and started again until one is finished.

Called by ``test_resume.py``: ``python kill.py FOLDER SETTINGS`` with the settings of a RunConfig as
JSON. Forked children share the imports, which take far longer than the runs.
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

KILLS = 10


def main(folder: Path, settings: dict[str, object]) -> None:
    import torch
    import wordfreq

    import rlprompt

    for module in pkgutil.walk_packages(rlprompt.__path__, "rlprompt."):
        importlib.import_module(module.name)
    importlib.import_module("transformers.models.llama.modeling_llama")
    wordfreq.zipf_frequency("film", "en")  # reads its table
    torch.set_num_threads(1)
    sys.path.insert(0, str(folder))
    rng = random.Random(0)
    assert run(settings, folder / "whole", until=None) == 0
    lines = count(folder / "whole")
    # Moments all over the run: after some lines of the log, then anywhere within a batch.
    stops = sorted(rng.sample(range(1, lines), KILLS))
    killed = [run(settings, folder / "killed", s, rng.uniform(0, 0.01)) for s in stops]
    assert run(settings, folder / "killed", until=None) == 0
    json.dump({"lines": lines, "stops": stops, "killed": killed}, sys.stdout)


def run(settings: dict[str, object], out: Path, until: int | None, delay: float = 0.0) -> int:
    """Runs a child; kills it ``delay`` seconds after its log has ``until`` lines.

    Returns its exit status, the negative signal number if it was killed.
    """
    child = os.fork()
    if child == 0:
        status = 1
        try:
            from rlprompt import RunConfig, optimize

            optimize(RunConfig(**settings, out=out))
            status = 0
        finally:
            os._exit(status)
    if until is None:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    while count(out) < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def count(out: Path) -> int:
    """Number of whole lines of a run's log."""
    try:
        return (out / "evaluations.jsonl").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
