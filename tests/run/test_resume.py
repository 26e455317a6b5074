"""A run that is killed at any moment ends as if it never had been."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and signals")

SLOW_REWARD = """
import time

from rlprompt.rewards.functions import calibrated_log_likelihood


def reward(evaluation):
    time.sleep(0.002)
    return calibrated_log_likelihood(evaluation)
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "slow_reward.py").write_text(SLOW_REWARD, encoding="utf-8")
    return tmp_path


def scored(out):
    """Context and prompt of every entry of a run's log."""
    lines = (out / "evaluations.jsonl").read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    return [(e["context"], tuple(ids)) for e in entries for ids in e["prompts"]]


def stable(out):
    value = json.loads((out / "result.json").read_text(encoding="utf-8"))
    del value["process"]
    for ledger in (value["ledger"], *(c["ledger"] for c in value["controls"].values())):
        del ledger["seconds"]
    return value


def environment(folder):
    return os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(folder), *sys.path]),
    }


def test_ten_kills_change_nothing(folder, settings):
    script = Path(__file__).parent / "kill.py"
    told = subprocess.run(
        [sys.executable, str(script), str(folder), json.dumps(settings)],
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    report = json.loads(told.stdout)
    # A kill may come a moment after the last line; all others hit a run at work.
    assert report["killed"].count(-signal.SIGKILL) >= 9, report

    whole, killed = folder / "whole", folder / "killed"
    assert stable(killed) == stable(whole)
    assert (killed / "prompt.txt").read_bytes() == (whole / "prompt.txt").read_bytes()
    assert (killed / "vocabulary.json").read_bytes() == (whole / "vocabulary.json").read_bytes()
    assert (killed / "curve.jsonl").read_bytes() == (whole / "curve.jsonl").read_bytes()
    assert not (killed / "progress.json").exists()
    assert max(Counter(scored(killed)).values()) == 1
    assert scored(killed) == scored(whole)
    assert [path.name for path in killed.iterdir() if path.name.endswith(".tmp")] == []


def test_ctrl_c_says_how_to_go_on_and_the_same_command_does(folder, settings):
    slow = settings | {"reward": "slow_reward:reward", "controls": ("random",)}
    out = folder / "run"
    flags = {
        "--task": slow["task"],
        "--lm": slow["lm"],
        "--budget": slow["budget"],
        "--shots": slow["shots"],
        "--test-limit": slow["test_limit"],
        "--length": slow["length"],
        "--reward": slow["reward"],
        "--out": out,
    }
    command = [sys.executable, "-m", "rlprompt", "optimize"]
    command += [str(word) for pair in flags.items() for word in pair]
    options = {"env": environment(folder), "text": True, "stdout": -1, "stderr": -1}
    # A shell starts its background jobs with SIGINT ignored, and a child inherits that.
    heard = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    with subprocess.Popen(command, **options, **heard) as process:
        log, deadline = out / "evaluations.jsonl", time.monotonic() + 120
        while not (log.exists() and log.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode in (2, 130)
    assert "Traceback" not in error
    words = " ".join(error.split())
    assert "Interrupted. Everything scored so far is in" in words
    assert "give the same command again to go on" in words
    before = scored(out)
    assert before

    done = subprocess.run(command, **options, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert scored(out)[: len(before)] == before
    assert max(Counter(scored(out)).values()) == 1
    assert stable(out)["prompt"]["text"] in done.stdout
