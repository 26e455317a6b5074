"""What was done is not done again: after a kill, and where more is asked for later."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from rlprompt.compare import folder


def flat(settings, **changes):
    """Settings as a TOML file has them."""
    own = {key: value for key, value in settings.items() if key != "run"}
    return {**settings["run"], **own, **changes}


def files(out):
    """Content of all files that runs, logs and test scores are in."""
    return {
        path.relative_to(out): path.read_bytes()
        for path in out.glob("*/split-*/*")
        if path.is_file()
    }


def killed(settings, tmp_path, *patterns):
    """Does a comparison at one go and another with kills; returns what ``kill.py`` reports."""
    script = Path(__file__).parent / "kill.py"
    told = subprocess.run(
        [sys.executable, str(script), str(tmp_path), json.dumps(settings), *patterns],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)


def assert_same_results(tmp_path):
    """What was killed came to the same as what was not, but for the time it took."""
    whole, other = (
        json.loads((tmp_path / name / folder.RESULT).read_text(encoding="utf-8"))
        for name in ("whole", "killed")
    )
    for result in (whole, other):
        for row in (*result["runs"], *result["summary"]):
            row.pop("seconds", None)
    for part in ("runs", "tasks", "summary", "tests", "verdict", "failures", "config"):
        assert other[part] == whole[part]


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and signals")


@needs_fork
def test_kills_change_nothing(settings, tmp_path):
    asked = flat(settings, agents=["random", "genetic", "genetic+racing"], split_seeds=[0, 1])
    report = killed(asked, tmp_path)
    # A kill may come a moment after the last line; all others hit a comparison at work.
    assert report["killed"].count(-signal.SIGKILL) >= 5, report
    assert report["done"] > 1
    assert report["again"] == []

    assert_same_results(tmp_path)
    for path, content in files(tmp_path / "whole").items():
        if path.name == folder.EVALUATIONS:
            logs = [tmp_path / name / path for name in ("whole", "killed")]
            lines = [log.read_text(encoding="utf-8").splitlines() for log in logs]
            entries = [[json.loads(line) for line in each] for each in lines]
            keys = [
                [(e["context"], tuple(p)) for e in log for p in e["prompts"]] for log in entries
            ]
            assert keys[0] == keys[1]
            assert max(Counter(keys[1]).values()) == 1
            assert [e["data"] for e in entries[0]] == [e["data"] for e in entries[1]]
        elif path.name == folder.TEST:
            assert (tmp_path / "killed" / path).read_bytes() == content
    assert not [*(tmp_path / "killed").glob("*/split-*/.*.tmp")]


@needs_fork
def test_kills_of_a_tuner_change_nothing(settings, tmp_path):
    """In the middle of its training, and between training and test."""
    own = {"tuner": "soft-prompt", "settings": {"learning_rates": [0.01], "steps": 20}}
    asked = flat(settings, agents=["random"], tuners=["short"], methods={"short": own})
    asked["budgets"] = [800]
    training, finished = "*/*/*.work/checkpoint/*.safetensors", "*/*/short.*.seed-*.json"
    report = killed(asked, tmp_path, training, finished)
    assert report["killed"] == [-signal.SIGKILL] * 2
    assert report["done"] == 2
    assert report["again"] == []
    assert_same_results(tmp_path)
    kept, tested = (
        [next((tmp_path / name).glob(f"*/split-0/{file}")) for name in ("whole", "killed")]
        for file in ("short.800.seed-0/soft_prompt.safetensors", folder.TEST)
    )
    assert kept[0].read_bytes() == kept[1].read_bytes()
    assert tested[0].read_bytes() == tested[1].read_bytes()


def test_a_finished_comparison_is_read(comparison, doubles, monkeypatch):
    first = comparison.start(agents=("doubles:Counted", "random"))
    before = files(comparison.out)
    # Not even the data and the LM are needed.
    monkeypatch.setattr("rlprompt.compare.group.task_of", None)
    monkeypatch.setattr("rlprompt.compare.compare.load_lm", None)
    comparison.frozen = None
    second = comparison.start()
    assert doubles.CALLS == [0]
    assert files(comparison.out) == before
    assert second["process"].pop("starts") == 2
    assert second["process"]["wall_seconds"] > first["process"]["wall_seconds"]
    assert {**second, "process": None} == {**first, "process": None}


@pytest.mark.parametrize(
    "more",
    [
        {"agents": ("genetic", "random", "doubles:Counted")},
        {"budgets": (800, 400)},
        {"seeds": (1, 0)},
        {"fixed": ("in-context", "empty", "manual")},
    ],
    ids=lambda more: next(iter(more)),
)
def test_more_can_be_added_to_a_split(more, comparison, doubles):
    old = comparison.start(fixed=("empty", "manual"))
    before, tested = files(comparison.out), comparison.tested()
    new = comparison.start(**more)
    after = files(comparison.out)
    for path, content in before.items():
        if path.name == folder.EVALUATIONS:
            assert after[path].startswith(content)
        elif path.name != folder.TEST:
            assert after[path] == content
    grown = comparison.tested()
    assert grown["opened"][:-1] == tested["opened"]
    assert len(tested["opened"]) == 1
    for part in ("fixed", "selected"):
        assert {name: grown[part][name] for name in tested[part]} == tested[part]
    added = len(new["runs"]) - len(old["runs"])
    texts = {(part, name) for part in ("fixed", "selected") for name in grown[part]}
    assert len(texts) == len(new["runs"])
    # Only for what is new.
    words = grown["opened"][-1].split()
    assert words[:3] == ["final", "scores", "of"]
    assert 1 <= int(words[3]) <= added
    assert all(row in new["runs"] for row in old["runs"])
    assert max(Counter(comparison.scored()).values()) == 1


def test_more_splits_and_tasks_leave_the_others_alone(comparison, ready, film_rows):
    comparison.start()
    before = files(comparison.out)
    films = comparison.settings["tasks"][0]
    folder_ = ready("ready", film_rows)
    result = comparison.start(split_seeds=(0, 1), tasks=(films, str(folder_)))
    after = files(comparison.out)
    assert {path: after[path] for path in before} == before
    assert len(result["tasks"]) == 4
    assert len(result["runs"]) == 4 * 5


def test_what_is_left_out_later_stays_in_the_folder(comparison):
    whole = comparison.start()
    before = files(comparison.out)
    part = comparison.start(agents=("genetic",), fixed=("empty",))
    assert {row["method"] for row in part["runs"]} == {"genetic", "empty"}
    assert files(comparison.out) == before
    assert (
        comparison.start(agents=("random", "genetic"), fixed=("empty", "manual", "in-context"))[
            "runs"
        ]
        == whole["runs"]
    )


def test_interrupted_says_how_to_go_on(comparison, monkeypatch):
    from rlprompt.core.errors import RunError

    def interrupt(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("rlprompt.compare.group.open_test", interrupt)
        with pytest.raises(RunError, match=r"Interrupted. Everything scored so far is in "):
            comparison.start()
    before = files(comparison.out)
    comparison.start()
    assert {path: content for path, content in before.items() if ".seed-" in path.name}.items() <= (
        files(comparison.out).items()
    )
