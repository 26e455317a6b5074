"""``rlprompt export``: what it prints and writes, and what it refuses."""

import json
import shutil

import pytest

from rlprompt.export import export as module
from rlprompt.export.protocol import EXPORTS, make_exporter


@pytest.fixture
def read_here(monkeypatch):
    """Reads back in this process, which is quick."""

    def read_back(name, exporter, path, examples, **_):
        return exporter.target.version(), [*exporter.read(path, examples)]

    monkeypatch.setattr(module, "read_back", read_back)


def test_files_facts_and_check(rlprompt, finished_run, read_here, tmp_path):
    out = tmp_path / "prompt.txt"
    code, shown, err = rlprompt("export", finished_run, "--to", "text", "--out", out)
    assert code == 0, err
    result = json.loads((finished_run / "result.json").read_text(encoding="utf-8"))
    assert out.read_bytes().decode() == result["prompt"]["text"]
    reader = make_exporter("text").target.version()
    # Read back in this process, transformers draws its bars behind these.
    assert err.startswith(
        f"loading {result['config']['lm']} ...\nasking it about 8 examples ...\n"
        f"having {reader} read prompt.txt back, for up to 300 s ...\n"
    )
    flat = " ".join(shown.split())
    assert "check: passed by transformers" in flat
    assert "8 examples: 8 same inputs, 8 same token ids" in flat
    assert result["lm"]["weights"] in flat
    for label, bias in result["calibration"].items():
        assert f"{label} {bias:+.4f}" in flat
    about = json.loads((tmp_path / "prompt.txt.rlprompt.json").read_text(encoding="utf-8"))
    assert about["check"]["outcome"] == "passed"
    assert about["facts"]["calibration"] == result["calibration"]


def test_a_failed_check_is_said_and_the_code_is_1(rlprompt, finished_run, tmp_path):
    words = ("--to", "json", "--out", tmp_path / "prompt.json", "--python", "false")
    code, shown, _ = rlprompt("export", finished_run, *words)
    assert code == 1
    assert "check: failed" in shown


def test_without_a_check(rlprompt, finished_run, tmp_path):
    words = ("--to", "json", "--out", tmp_path / "prompt.json", "--no-check")
    code, shown, err = rlprompt("export", finished_run, *words)
    assert (code, err) == (0, "")
    assert "check: unchecked: not asked for" in shown


def test_the_formats_are_listed(rlprompt):
    code, shown, _ = rlprompt("list", "exports")
    assert code == 0
    for name in EXPORTS:
        assert f"{name} " in shown
        assert EXPORTS.summary(name) in shown


def test_an_export_is_replaced_and_what_else_is_there_is_not(rlprompt, finished_run, tmp_path):
    out = tmp_path / "task"
    words = ("export", finished_run, "--to", "lm-eval", "--out", out, "--no-check")
    assert rlprompt(*words)[0] == 0
    (out / "notes.md").write_text("mine", encoding="utf-8")
    (out / "utils.py").write_text("changed", encoding="utf-8")
    assert rlprompt(*words)[0] == 0
    assert (out / "notes.md").read_text(encoding="utf-8") == "mine"
    assert "process_results" in (out / "utils.py").read_text(encoding="utf-8")


def test_a_file_of_somebody_is_replaced_by_force_alone(rlprompt, refused, finished_run, tmp_path):
    out = tmp_path / "prompt.json"
    out.write_text("mine", encoding="utf-8")
    words = ("export", finished_run, "--to", "json", "--out", out, "--no-check")
    assert "no export wrote it" in refused(*words)
    assert out.read_text(encoding="utf-8") == "mine"
    assert rlprompt(*words, "--force")[0] == 0
    assert json.loads(out.read_text(encoding="utf-8"))["schema"] == 1


def test_a_folder_of_somebody_is_never_replaced(refused, finished_run, tmp_path):
    (tmp_path / "thesis.tex").write_text("mine", encoding="utf-8")
    words = ("--to", "lm-eval", "--out", tmp_path, "--force")
    assert "is a folder with files that no export wrote" in refused("export", finished_run, *words)
    assert (tmp_path / "thesis.tex").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--to", "lmeval"], "Unknown export format 'lmeval'. Did you mean 'lm-eval'?"),
        (["--to", "no_module:X"], "Cannot import 'no_module'"),
        (["--to", "peft"], "export it to text, json or python, or learn a prompt with e.g."),
        (["--to", "dspy"], "DSPy reads a state by its ending"),
        ([], "--to"),
    ],
)
def test_refusals(words, message, refused, finished_run, tmp_path):
    assert message in refused("export", finished_run, *words, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_run_an_unfinished_one_and_a_damaged_one(refused, finished_run, tmp_path):
    words = ("--to", "json", "--out", tmp_path / "out.json")
    assert "there is no such folder" in refused("export", tmp_path / "none", *words)
    assert "No result at" in refused("export", tmp_path, *words)
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    (run / "result.json").write_text('{"schema": 1}', encoding="utf-8")
    assert "The result is damaged" in refused("export", run, *words)
    (run / "result.json").unlink()
    assert "is not finished: give its rlprompt optimize command again" in refused(
        "export", run, *words
    )


def test_a_run_without_an_ensemble(refused, finished_run, tmp_path):
    words = ("--to", "json", "--ensemble", "--out", tmp_path / "out.json")
    assert "has no ensemble: run it anew" in refused("export", finished_run, *words)
    assert not (tmp_path / "out.json").exists()


@pytest.mark.parametrize(
    ("more", "flag", "whole"), [({}, "", "."), ({"ensemble": 4}, "--ensemble 4 ", " --ensemble.")]
)
def test_a_comparison_names_the_run_to_make(more, flag, whole, refused, tmp_path):
    method = {"agent": "ppo", "settings": {"entropy": 0.1}, "racing": True, **more}
    run = {"task": "movie-reviews", "split_seed": 13, "seed": 0, "budget": 900}
    value = {
        "config": {
            "methods": {"mine": method},
            "run": {"lm": "smollm2", "shots": 16, "length": 3, "reward": "accuracy"},
        },
        "runs": [
            {**run, "method": "mine", "dev_log_likelihood": -0.5},
            {**run, "method": "mine", "split_seed": 21, "dev_log_likelihood": -0.4},
            {**run, "method": "manual", "dev_log_likelihood": -0.3},
        ],
    }
    words = ("export", tmp_path, "--to", "json", "--out", tmp_path / "out.json")
    path = tmp_path / "comparison.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    message = refused(*words)
    assert "is a comparison, which keeps scores and no run" in message
    assert (
        "rlprompt optimize --task movie-reviews --lm smollm2 --agent ppo --set entropy=0.1 "
        f"--racing {flag}--reward accuracy --split-seed 21 --shots 16 --length 3 --seed 0 "
        f"--budget 900 --out runs/best; then export runs/best{whole}"
    ) in " ".join(message.split())
    path.write_text("{", encoding="utf-8")
    assert "export the folder of a run that rlprompt optimize made" in refused(*words)
