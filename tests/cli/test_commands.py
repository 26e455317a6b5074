"""What the commands print and leave behind."""

import csv
import json
import os
import subprocess
import sys

import pytest

from rlprompt.agents.protocol import AGENTS
from rlprompt.core.events import steps
from rlprompt.core.version import __version__
from rlprompt.rewards import REWARDS
from rlprompt.tuning.protocol import TUNERS

FLAGS = ("--shots", 4, "--budget", 400, "--length", 3, "--test-limit", 20)
HEAVY = ("torch", "transformers", "stable_baselines3")


def loaded_by(*words):
    """Runs a command in a fresh process; returns stdout and which heavy packages it loaded."""
    code = (
        "import sys\n"
        "from rlprompt.cli import main\n"
        f"sys.argv = {['rlprompt', *map(str, words)]!r}\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as end:\n"
        "    assert not end.code, end.code\n"
        f"heavy = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "print('loaded:', *heavy)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    shown, _, heavy = done.stdout.rpartition("loaded:")
    return shown, heavy.split()


def test_optimize_then_again_then_evaluate(rlprompt, films, film_rows, tiny_lm, tmp_path):
    run = tmp_path / "run"
    words = ("optimize", "--task", films, "--lm", tiny_lm, *FLAGS, "--controls", "random")
    words += ("--manual-prompt", " It was", "--exclude", "film", "--set", "n_envs=8", "--out", run)
    code, out, err = rlprompt(*words)
    assert code == 0, err
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    text = (run / "prompt.txt").read_text(encoding="utf-8")
    assert result["prompt"]["text"] == text
    assert result["agent"]["settings"]["n_envs"] == 8
    assert result["config"]["exclude"] == ["film"]
    assert "film" not in json.loads((run / "vocabulary.json").read_text())["texts"]
    assert text in out
    for shown in ("learned prompt", "random", "empty prompt", "manual prompt", "' It was'"):
        assert shown in out
    assert f"spent: {result['ledger']['forwards']} of 400 LM forwards" in " ".join(out.split())
    assert str(run / "prompt.txt") in out.replace("\n", "")
    assert err.startswith(f"loading {tiny_lm} ...\nsearch ppo")
    assert "test: 80/80 forwards" in err

    code, again, err = rlprompt(*words)
    assert code == 0
    assert err == ""
    assert again == out

    code, out, _ = rlprompt("evaluate", run, "--split", "test")
    assert code == 0
    accuracy = result["scores"]["test"]["accuracy"]
    assert f"{accuracy:.3f}" in out

    code, out, _ = rlprompt("evaluate", run, "--text", "a fine film", "--text", "[bold]dull")
    assert code == 0
    assert "P(bad)" in out
    assert "P(good)" in out
    assert "[bold]dull" in out

    data = tmp_path / "more [1].csv"
    with data.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("review", "label"), *film_rows[:30]])
    code, out, err = rlprompt("evaluate", run, "--data", data, "--column", "text=review")
    assert code == 0, err
    assert "30 examples" in out
    assert "more [1].csv" in out.replace("\n", "")
    assert "calibrated" in out


def test_without_manual_prompts_the_empty_one_is_shown_once(rlprompt, finished_run):
    result = json.loads((finished_run / "result.json").read_text(encoding="utf-8"))
    assert not result["manual_candidates"]
    code, out, _ = rlprompt("evaluate", finished_run, "--split", "test")
    assert code == 0
    assert out.count("empty prompt") == 1
    assert "manual prompt" not in out


def test_a_broken_log_is_set_aside_and_the_run_goes_on(rlprompt, films, tiny_lm, tmp_path):
    run = tmp_path / "run"
    words = ("optimize", "--task", films, "--lm", tiny_lm, *FLAGS, "--out", run)
    assert rlprompt(*words)[0] == 0
    (run / "result.json").unlink()
    log = run / "evaluations.jsonl"
    log.write_bytes(log.read_bytes()[:-40])
    code, out, _ = rlprompt(*words)
    assert code == 0
    assert "learned prompt" in out
    assert (run / "evaluations.jsonl.broken-1").exists()


def test_a_configuration_file_and_flags_over_it(rlprompt, films, tiny_lm, tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(
        f"task = {json.dumps(str(films))}\nlm = {json.dumps(str(tiny_lm))}\n"
        "shots = 4\nlength = 3\nbudget = 100\ncontrols = ['random']\n"
        "[agent_settings]\nn_envs = 4\nhidden = 8\n"
    )
    code, out, err = rlprompt(
        "optimize", "--config", path, "--budget", "1_000", "--set", "n_envs=8", "--dry-run"
    )
    assert code == 0, err
    assert "1,000 LM forwards for each agent" in out
    assert "ppo, random, up to 3 tokens a prompt" in out


def test_a_reward_of_ones_own_in_the_current_folder(
    rlprompt, films, tiny_lm, tmp_path, monkeypatch
):
    (tmp_path / "rewards_of_mine.py").write_text("def flat(evaluation):\n    return 0.5\n")
    monkeypatch.chdir(tmp_path)
    words = ("optimize", "--task", films, "--lm", tiny_lm, *FLAGS)
    code, _, err = rlprompt(*words, "--reward", "rewards_of_mine:flat", "--agent", "random")
    assert code == 0, err


def test_a_dry_run_shows_the_cost_scores_nothing_and_loads_no_torch(films, tmp_path):
    # The LM is a hub id that nothing may ask for.
    words = ["optimize", "--task", films, "--lm", "no-such-user/no-such-lm", *FLAGS]
    shown, heavy = loaded_by(*words, "--controls", "random", "--out", tmp_path / "run", "--dry-run")
    assert heavy == []
    assert "400 LM forwards for each agent: up to 45 prompts in the search" in shown
    # Two agents; the empty prompt on 8 + 8 examples; four prompts on 20 test examples.
    assert "at most 896 LM forwards, 96 of them for baselines and test" in shown
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("tasks", ["movie-reviews"]),
        ("lms", ["minilm-mlm", "smollm2"]),
        ("agents", sorted(AGENTS)),
        ("tuners", sorted(TUNERS)),
        ("rewards", sorted(REWARDS)),
        ("envs", [f"rlprompt/{n}-v0" for n in ("EditPlanted", "EditPrompt", "Planted", "Prompt")]),
    ],
)
def test_list_names_everything_and_loads_no_torch(kind, names):
    shown, heavy = loaded_by("list", kind)
    assert heavy == []
    assert [line.split()[0] for line in shown.splitlines() if line[:1].strip()] == names


def test_version_and_help(rlprompt):
    assert rlprompt("--version")[:2] == (0, f"rlprompt {__version__}\n")
    code, out, _ = rlprompt("optimize", "--help")
    assert code == 0
    assert "goes on when the same command is given again" in " ".join(out.split())
    for name in ("optimize", "evaluate", "list"):
        assert name in rlprompt("--help")[1]


def test_python_dash_m():
    done = subprocess.run(
        [sys.executable, "-m", "rlprompt", "--version"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"rlprompt {__version__}\n"


def test_what_is_done_is_told_by_a_command_and_by_nothing_after_it(rlprompt, capsys):
    before = list(steps.handlers), steps.level, steps.propagate
    assert rlprompt("list", "tasks")[0] == 0
    assert rlprompt("list", "nothing")[0] == 2
    assert (list(steps.handlers), steps.level, steps.propagate) == before
    steps.info("loading what a Python program loads ...")
    assert capsys.readouterr() == ("", "")
