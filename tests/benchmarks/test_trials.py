"""The table of trials: gains are over the splits that a trial and its reference have in common."""

import importlib.util
import json
import math
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


def load():
    spec = importlib.util.spec_from_file_location("trial", FOLDER / "trial.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def trial(tmp_path, monkeypatch):
    module = load()
    monkeypatch.setattr(module, "RESULTS", tmp_path / "results.jsonl")
    return module


def row(name, split, value, **more):
    keys = ("selected", "selected_accuracy", "mean_of_8", "of_4", "best_train_reward")
    found = {"trial": name, "split": split, "budget": 1000, "new_in_last_third": None, **more}
    return found | dict.fromkeys(keys, value)


def test_gains_are_paired(trial):
    rows = [row("ppo", split, -0.5 + 0.1 * split) for split in (1, 2)]
    rows += [
        row(
            "mine",
            split,
            -0.4 + 0.1 * split,
            against="ppo",
            new_in_last_third=split / 10,
            fluency=-math.log(9 * split),
        )
        for split in (2, 3)
    ]
    trial.RESULTS.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    first, second = trial.table().splitlines()[2:4]
    assert first == f"| ppo | 2 | {' | '.join(['-0.3500'] * 5)} |  |  |  |  |  |"
    means = " | ".join(["-0.1500"] * 5)
    # The geometric mean of perplexities 18 and 27.
    assert second == f"| mine | 2 | {means} | 22 | 0.20 to 0.30 | ppo | +0.1000 (1) | +0.1000 (1) |"
    assert "4 searches, 4,000 LM forwards." in trial.table()


def test_an_unknown_reference_is_refused_before_anything_is_loaded(trial, capsys):
    trial.RESULTS.write_text(json.dumps(row("ppo", 1, -0.5)), encoding="utf-8")
    with pytest.raises(SystemExit):
        trial.main(["mine", "--against", "pop"])
    assert "no trial 'pop' among ppo" in capsys.readouterr().err


def test_the_committed_results_make_the_committed_table():
    assert load().table() in (FOLDER / "trials" / "README.md").read_text(encoding="utf-8")
