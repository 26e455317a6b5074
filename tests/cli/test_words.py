"""``rlprompt words``: its table, its files, and what it refuses."""

import json

import pytest
from rich.console import Console

from rlprompt.cli import app
from rlprompt.cli.show_words import bar

FLAGS = ("--shots", 4, "--vocabulary-size", 40, "--top", 3)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("words") / "run"


def test_the_table_the_files_and_again(rlprompt, films, tiny_lm, out):
    words = ("words", "--task", films, "--lm", tiny_lm, *FLAGS, "--exclude", "film", "--out", out)
    code, shown, err = rlprompt(*words)
    assert code == 0, err
    value = json.loads((out / "words.json").read_text(encoding="utf-8"))
    assert len(value["rows"]) == 40
    assert value["config"]["exclude"] == ["film"]
    flat = " ".join(shown.split())
    assert "what 40 single words do: films, 8 train examples" in flat
    assert "34 more" in flat
    for row in (*value["rows"][:3], *value["rows"][-3:]):
        assert repr(row["text"]) in shown
        assert f"{row['train']['value']:+.3f}" in shown
        assert f"{row['dev']['value']:+.3f}" in shown
    assert repr(value["rows"][5]["text"]) not in shown
    assert "█" in shown
    assert "The empty prompt: reward" in flat
    assert "Significant among 40 words" in flat
    assert f"Spent: {41 * 8 + 7 * 8} LM forwards" in flat
    assert str(out / "words.md") in shown.replace("\n", "")
    assert "words: 328/328 forwards" in err
    assert "words on dev: 56/56 forwards" in err

    log = (out / "evaluations.jsonl").read_bytes()
    code, again, _ = rlprompt(*words)
    assert (code, again) == (0, shown)
    assert (out / "evaluations.jsonl").read_bytes() == log


@pytest.mark.parametrize("width", [80, 100])
def test_the_table_fits_a_terminal(width, rlprompt, films, tiny_lm, monkeypatch):
    monkeypatch.setattr(app.out, "width", width)
    code, shown, err = rlprompt("words", "--task", films, "--lm", tiny_lm, *FLAGS)
    assert code == 0, err
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= width
    assert ("│" in shown) == (width == 100)


def test_a_configuration_file_of_optimize_serves(rlprompt, films, tiny_lm, tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(
        f"task = {json.dumps(str(films))}\nlm = {json.dumps(str(tiny_lm))}\n"
        "shots = 4\nbudget = 5\nagent = 'random'\nvocabulary_size = 9\nreward = 'accuracy'\n"
    )
    code, shown, err = rlprompt(
        "words", "--config", path, "--words", "bad=dull", "--words", "good=fine"
    )
    assert code == 0, err
    assert "what 9 single words do" in shown
    assert "Effect: accuracy with" in " ".join(shown.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--top", "0"], "top must be 1 or more, not 0."),
        (["--vocabulary-size", "1"], "vocabulary_size must be 2 or more, not 1."),
        (["--task", "movie-review"], "Did you mean 'movie-reviews'?"),
        (["--reward", "acuracy"], "Unknown reward 'acuracy'. Did you mean 'accuracy'?"),
        (["--words", "good"], "--words takes NAME=VALUE, not 'good'."),
        (["--lm", "/no/such"], "No LM at '/no/such'"),
        (["--agent", "ppo"], "--agent"),
    ],
)
def test_refusals(words, message, refused):
    assert message in refused("words", *words)


def test_a_folder_of_a_run_is_refused(refused, films, finished_run):
    message = refused("words", "--task", films, *FLAGS, "--out", finished_run)
    assert "belongs to another run: " in message
    assert "command was None, now 'words'" in message


@pytest.mark.parametrize("share", [-1, -0.5, -0.01, 0, 0.01, 0.5, 1])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_bars_have_one_width_and_point_the_right_way(share, ascii_only):
    text = bar(share, ascii_only=ascii_only)
    left, zero, right = text.plain[:7], text.plain[7], text.plain[8:]
    assert zero in "│|"
    assert len(right) == 7
    assert bool(left.strip()) == (share < -0.05)
    assert bool(right.strip()) == (share > 0.05)
    assert not ascii_only or text.plain.isascii()
    assert Console(width=20).measure(text).maximum == 15
