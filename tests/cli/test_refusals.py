"""Every bad input ends with code 2 and one message that says what to write instead."""

import csv
import json

import pytest

FLAGS = ("--shots", 4, "--budget", 400, "--length", 3, "--test-limit", 20)


@pytest.fixture
def table(tmp_path):
    """Returns a function that writes rows as a CSV file."""

    def write(rows, header=("text", "label")):
        path = tmp_path / "data.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([header, *rows] if header else rows)
        return path

    return write


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--task", "movie-review"], "Unknown task 'movie-review', and no file or folder of that "),
        (["--task", "movie-review"], "Did you mean 'movie-reviews'?"),
        (["--task", "no-such.csv"], "no-such.csv"),
        (["--task", "no-such.toml"], "Cannot read no-such.toml"),
        (["--lm", "smolm"], "Unknown LM 'smolm'. Did you mean 'smollm2'?"),
        (["--lm", "/no/such"], "No LM at '/no/such': there is no such file or folder."),
        (["--agent", "pppo"], "Unknown agent 'pppo'. Did you mean 'ppo'?"),
        (["--agent", ":x"], "':x' is no import path: write 'package.module:name'."),
        (["--agent", "no_module:x"], "Cannot import 'no_module'"),
        (["--reward", "acuracy"], "Unknown reward 'acuracy'. Did you mean 'accuracy'?"),
        (["--set", "lerning_rate=1"], "no setting 'lerning_rate'. Did you mean 'learning_rate'?"),
        (["--set", "learning_rate=-1"], "learning_rate must be positive, not -1."),
        (["--set", "n_envs=many"], "n_envs of the agent 'ppo' must be of type int, not 'many'."),
        (["--set", "learning_rate"], "--set takes NAME=VALUE, not 'learning_rate'."),
        (["--set", "=5"], "--set takes NAME=VALUE, not '=5'."),
        (["--words", "good"], "--words takes NAME=VALUE, not 'good'."),
        (["--controls", "random, randm"], "Unknown agent 'randm'. Did you mean 'random'?"),
        (["--controls", "ppo"], "must all be different"),
        (["--budget", "0"], "budget must be 1 or more, not 0."),
        (["--budget", "much"], "valid integer"),
        (["--length", "0"], "length must be 1 or more, not 0."),
        (["--template", "{text}{prompt}{prompt}"], "write e.g. '{text}{prompt:2}{prompt:2}'"),
        (["--template", "{prompt:1} {text} {prompt:1}"], "hold 2 tokens, not 5: give --length 2"),
        (["--seed", "-1"], "seed must be 0 or more, not -1."),
        (["--dtype", "float33"], "Unknown dtype 'float33'. Did you mean 'float32'?"),
        (["--config", "no-such.toml"], "No configuration file no-such.toml."),
        (["--buget", "5"], "--budget"),
        (["surplus"], "unexpected extra argument"),
    ],
)
def test_flags(words, message, refused):
    assert message in refused("optimize", "--dry-run", *words)


def test_commands(refused):
    assert "Did you mean 'optimize'?" in refused("optimise")
    assert "'tasks', 'lms', 'agents', 'tuners', 'rewards', 'envs'" in refused("list", "prompts")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("buget = 5", "Unknown key 'buget' in"),
        ("buget = 5", "Did you mean 'budget'?"),
        ("budget = '5'", "budget must be a whole number, not '5'."),
        ("agent_settings = 3", "agent_settings must be a table, not 3."),
        ("budget = ", "Cannot read"),
    ],
)
def test_configuration_files(text, message, refused, tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(text)
    assert message in refused("optimize", "--dry-run", "--config", path)


def good(n=20):
    return [(f"the {i} film was {word}", word) for i in range(n) for word in ("good", "bad")]


@pytest.mark.parametrize(
    ("rows", "header", "flags", "message"),
    [
        (good(), ("text", "lable"), [], "has no column 'label'. Did you mean 'lable'?"),
        (good(), ("text", "label"), ["--column", "text=txt"], "no column 'txt'. Did you mean 'te"),
        (good(), ("text", "label"), ["--column", "txt=text"], "columns names 'txt', which the tem"),
        ([], ("text", "label"), [], "data.csv"),
        ([], None, [], "empty"),
        ([(t, "good") for t, _ in good()], ("text", "label"), [], "needs two classes or more"),
        (good(5), ("text", "label"), [], "has 5 distinct examples; 4 shots need 8"),
        (good(8), ("text", "label"), ["--shots", 4], None),
        (
            [(t, {"good": 1, "bad": 0}[w]) for t, w in good()],
            ("text", "label"),
            [],
            "The labels 0, 1 are no words an LM could answer with: give every label one",
        ),
        (good(), ("text", "label"), ["--words", "good=fine"], "No word for label 'bad'"),
        (
            good(),
            ("text", "label"),
            ["--words", "good=fine", "--words", "bad=fine"],
            "The label word 'fine' is given twice; labels could not be told apart.",
        ),
        (
            good(),
            ("text", "label"),
            ["--words", "good=a", "--words", "bad=b", "--words", "god=c"],
            "Words are given for 'god', which is no label. Did you mean 'good'? Labels: bad, good.",
        ),
        (good(), ("text", "label"), ["--template", "{text}"], "{prompt}"),
        (good(), ("text", "label"), ["--template", "{prompt}"], "field"),
        (good(), ("text", "label"), ["--template", "{txt}{prompt}"], None),
        (
            good(),
            ("text", "label"),
            ["--template", "{one}{two}{prompt}"],
            "has no column 'one'",
        ),
        (good(), ("text", "label"), ["--budget", 15], "too small for one prompt: it takes 8 on t"),
    ],
)
def test_data_words_and_templates(rows, header, flags, message, refused, rlprompt, table):
    words = ("optimize", "--dry-run", "--task", table(rows, header), *FLAGS, *flags)
    if message is None:
        code, _, err = rlprompt(*words)
        assert code == (2 if rows == good(8) else 0), err
        assert rows != good(8) or "Nothing is left for test" in " ".join(err.split())
    else:
        assert message in refused(*words)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--length", 130], "context"),
        (["--template", "{text}{prompt}{mask}"], "{mask}"),
        (["--device", "cuda:77"], "no device 'cuda:77' here: write 'cpu'"),
        (["--device", "gpu"], "Unknown device 'gpu'"),
        (["--agent", "random", "--vocabulary-size", 2, "--exclude", "the", "--length", 1], None),
    ],
)
def test_what_only_the_lm_can_tell(flags, message, refused, rlprompt, films, tiny_lm):
    words = ("optimize", "--task", films, "--lm", tiny_lm, *FLAGS, *flags)
    if message is None:
        assert rlprompt(*words)[0] == 0
    else:
        assert message in refused(*words)


def test_a_folder_that_holds_no_lm(refused, films, tmp_path):
    message = refused("optimize", "--task", films, "--lm", tmp_path, *FLAGS)
    assert "Cannot load the LM" in message
    assert "check that it holds config.json, *.safetensors and the tokenizer" in message


def test_folders_of_other_runs(refused, rlprompt, films, tiny_lm, tmp_path):
    words = ("optimize", "--task", films, "--lm", tiny_lm, *FLAGS, "--out", tmp_path / "run")
    assert rlprompt(*words)[0] == 0
    message = refused(*words, "--seed", 5)
    assert "belongs to another run: seed was 0, now 5. Choose another --out" in message
    (tmp_path / "file").write_text("something else")
    assert "is no run and not empty" in refused(*words[:-1], tmp_path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Give exactly one of --split, --data and --text."),
        (["--split", "test", "--text", "a film"], "Give exactly one of"),
        (["--split", "tset"], "Unknown split 'tset'. Did you mean 'test'?"),
        (["--data", "no-such.csv"], "no-such.csv"),
    ],
)
def test_evaluate(words, message, refused, finished_run):
    assert message in refused("evaluate", finished_run, *words)


def test_evaluate_data_that_do_not_fit_the_run(refused, finished_run, table):
    path = table([("a good film", "good"), ("a film", "so-so")])
    message = refused("evaluate", finished_run, "--data", path)
    assert "has the label 'so-so', which the task lacks" in message
    path = table([("a good film", "good")], ("review", "gold"))
    assert "has no column 'label'" in refused("evaluate", finished_run, "--data", path)


def test_evaluate_needs_a_finished_run(refused, tmp_path):
    missing = refused("evaluate", tmp_path / "nowhere", "--split", "test")
    assert "there is no such folder" in missing
    unfinished = refused("evaluate", tmp_path, "--split", "test")
    assert "the run is not finished, or elsewhere" in unfinished
    (tmp_path / "result.json").write_text(json.dumps({"schema": 99}))
    assert "no result of schema 1" in refused("evaluate", tmp_path, "--split", "test")
