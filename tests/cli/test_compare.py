"""``rlprompt compare`` from flags to table."""

import json

import pytest


@pytest.fixture
def flags(films, tiny_lm, tmp_path):
    """Flags of a small comparison."""
    given = {
        "--task": films,
        "--lm": tiny_lm,
        "--agents": "random,genetic+racing",
        "--fixed": "empty,in-context",
        "--budgets": "400",
        "--split-seeds": "0,1",
        "--shots": 4,
        "--length": 3,
        "--vocabulary-size": 100,
        "--test-limit": 20,
        "--out": tmp_path / "comparison",
    }
    return [word for pair in given.items() for word in pair]


def without(flags, name):
    position = flags.index(name)
    return flags[:position] + flags[position + 2 :]


def test_end_to_end(flags, rlprompt, tmp_path):
    code, told, progress = rlprompt("compare", *flags)
    assert code == 0, progress
    words = " ".join(told.split())
    assert "methods random, genetic+racing" in words
    assert "4 searches on 2 splits, 1,600 LM forwards at most, in 1 process" in words
    for method in ("random", "genetic+racing", "empty", "in-context"):
        assert f"400 │ {method}" in words
    result = json.loads((tmp_path / "comparison" / "comparison.json").read_text("utf-8"))
    assert all(f"- {' '.join(each.split())}" in words for each in result["verdict"])
    assert "comparison.json, comparison.md and figures/ hold it all." in words
    # A line for each run, one for each test, with where it belongs.
    lines = [line for line in progress.splitlines() if line.startswith("[")]
    assert len(lines) == 6
    assert "films.csv split 0, random seed 0, 400 forwards: -" in lines[0]
    assert lines[0].startswith("[1/4] ")
    assert "films.csv split 1: test: final scores of" in lines[-1]

    code, again, progress = rlprompt("compare", *flags)
    assert code == 0
    assert again == told
    assert not [line for line in progress.splitlines() if line.startswith("[")]


def test_settings_of_the_task_are_flags(film_rows, flags, rlprompt, tmp_path):
    rows = ("review,stars", *(f"{text},{label}" for text, label in film_rows))
    (tmp_path / "own.csv").write_text("\n".join(rows), encoding="utf-8")
    own = {
        "--task": tmp_path / "own.csv",
        "--column": "text=review",
        "--template": "Film: {text}{prompt}",
        "--manual-prompt": " In short",
        "--fixed": "empty,manual",
        "--split-seeds": "0",
    }
    repeated = ["--column", "label=stars", "--words", "bad=poor", "--words", "good=fine"]
    given = [*flags, *(word for pair in own.items() for word in pair), *repeated]
    code, _, progress = rlprompt("compare", *given, "--no-whole-words", "--pieces")
    assert code == 0, progress
    result = json.loads((tmp_path / "comparison" / "comparison.json").read_text("utf-8"))
    assert result["config"]["run"]["pieces"] is True
    (task,) = result["tasks"]
    assert task["template"] == "Film: {text}{prompt}"
    assert task["words"] == [["poor"], ["fine"]]
    manual = [run["prompt"] for run in result["runs"] if run["method"] == "manual"]
    assert manual == [" In short"]


def test_dry_run_prints_the_plan_and_does_nothing(flags, rlprompt, tmp_path):
    code, told, _ = rlprompt(
        "compare", *flags, "--seeds", "0,1_0,0", "--budgets", "400,2_000", "--dry-run"
    )
    words = " ".join(told.split())
    assert code == 0
    assert "budgets 400, 2,000 LM forwards each" in words
    assert "agent seeds 0, 10" in words
    assert "16 searches on 2 splits, 19,200 LM forwards at most" in words
    assert "note seeds: 0 was given more than once and counts once." in words
    assert not (tmp_path / "comparison").exists()


def test_a_configuration_file_with_methods(films, tiny_lm, rlprompt, tmp_path):
    path = tmp_path / "compare.toml"
    path.write_text(
        f"""
        tasks = ["{films}"]
        lm = "{tiny_lm}"
        agents = ["mine", "random"]
        budgets = [400]
        split_seeds = [0]
        shots = 4
        exclude = ["film"]

        [methods.mine]
        agent = "genetic"
        racing = true
        settings = {{batch_size = 8}}
        """,
        encoding="utf-8",
    )
    code, told, _ = rlprompt(
        "compare", "--config", path, "--dry-run", "--out", tmp_path / "out", "--fixed", ""
    )
    words = " ".join(told.split())
    assert code == 0
    assert "methods mine, random" in words
    assert "fixed prompts none" in words
    assert "2 searches on 1 split, 800 LM forwards at most, in 1 process" in words


def test_tuners_beside_agents(films, flags, rlprompt, tmp_path):
    path = tmp_path / "compare.toml"
    path.write_text(
        """
        [methods.short]
        tuner = "soft-prompt"
        settings = {init = "labels", length = 3, learning_rates = [0.01], steps = 5}
        """,
        encoding="utf-8",
    )
    one = [*flags, "--split-seeds", "0", "--tuners", "short", "--config", path]
    code, told, progress = rlprompt("compare", *one)
    assert code == 0, progress
    words = " ".join(told.split())
    assert "tuners short; a backward counts as 2 LM forwards" in words
    assert "3 runs on 1 split, 1,200 LM forwards at most" in words
    assert "what it takes, means over runs" in words
    taken = [line for line in told.splitlines() if "short" in line and line.count("│") == 11]
    assert [part.strip() for part in taken[0].split("│")][1:4] == ["films", "400", "short"]
    assert [part.strip() for part in taken[0].split("│")][-4:] == ["yes", "no", "no", ""]
    assert "short seed 0, 400 forwards: " in progress


def test_tuners_without_agents_are_planned(flags, rlprompt):
    code, told, _ = rlprompt(
        "compare", *flags, "--agents", "", "--tuners", "soft-prompt", "--dry-run"
    )
    words = " ".join(told.split())
    assert code == 0
    assert "methods none tuners soft-prompt;" in words
    assert "2 runs on 2 splits, 800 LM forwards at most" in words


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tuners", "soft-promt"], "Unknown tuner 'soft-promt'. Did you mean 'soft-prompt'?"),
        (["--agents", "random,genetc"], "Unknown agent 'genetc'. Did you mean 'genetic'?"),
        (["--agents", "random+race"], "Unknown agent 'random+race'."),
        (["--split-seeds", "13;21"], "--split-seeds takes whole numbers like 13,21,42, not '13;2"),
        (["--split-seeds", "x"], "--split-seeds takes whole numbers like 13,21,42, not 'x'."),
        (["--split-seeds", "-1"], "split_seed must be 0 or more, not -1."),
        (["--split-seeds", ""], "split_seeds is empty: give one or more."),
        (["--budgets", "5k"], "--budgets takes whole numbers like 13,21,42, not '5k'."),
        (["--seeds", "0,-2"], "seed must be 0 or more, not -2."),
        (["--fixed", "hand"], "Unknown fixed prompt 'hand'."),
        (["--jobs", "0"], "jobs must be a whole number of 1 or more, not 0."),
        (["--reward", "acuracy"], "Unknown reward 'acuracy'. Did you mean 'accuracy'?"),
        (["--config", "no-such.toml"], "No configuration file no-such.toml."),
        (["--bugdets", "5"], "No such option"),
    ],
)
def test_refused_in_one_line(words, message, flags, refused, tmp_path):
    error = refused("compare", *flags, *words)
    assert message in error
    assert not (tmp_path / "comparison").exists()


def test_no_folder(flags, refused):
    assert "A comparison needs a folder: give --out" in refused("compare", *without(flags, "--out"))


def test_failed_runs_are_told_and_the_rest_is_shown(flags, rlprompt, tmp_path):
    code, told, progress = rlprompt(
        "compare", *flags, "--task", f"{flags[1]},no-such.csv", "--split-seeds", "0"
    )
    assert code == 1, progress
    assert "no-such.csv split 0: FAILED: 2 runs: " in progress
    assert "failed" in " ".join(told.split())
    result = json.loads((tmp_path / "comparison" / "comparison.json").read_text("utf-8"))
    assert {row["task"] for row in result["failures"]} == {"no-such.csv"}


def test_nothing_but_failures_is_an_error(flags, refused):
    error = refused("compare", *flags, "--task", "no-such.csv")
    assert "Error: No run could be finished, 4 failed. The first: " in error
