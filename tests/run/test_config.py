"""A run's configuration refuses nonsense when it is made, and comes back from JSON and TOML."""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import pytest

from rlprompt.core.errors import ConfigError
from rlprompt.run.config import RunConfig


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"buget": 5},
            r"^Unknown key 'buget' in mine\.toml\. Did you mean 'budget'\? Known: task, lm, ",
        ),
        ({"zzz": 5}, r"^Unknown key 'zzz' in mine\.toml\. Known: task, "),
        ({"budget": 0}, r"^budget must be 1 or more, not 0\.$"),
        ({"budget": "20"}, r"^budget must be a whole number, not '20'\.$"),
        ({"budget": 2.5}, r"^budget must be a whole number, not 2\.5\.$"),
        ({"budget": True}, r"^budget must be a whole number, not True\.$"),
        ({"length": 0}, r"^length must be 1 or more, not 0\.$"),
        ({"vocabulary_size": 1}, r"^vocabulary_size must be 2 or more, not 1\.$"),
        ({"seed": -1}, r"^seed must be 0 or more, not -1\.$"),
        ({"split_seed": -1}, r"^split_seed must be 0 or more, not -1\.$"),
        ({"shots": 0}, r"^shots must be 1 or more, not 0\.$"),
        ({"shots": "many"}, r"^shots must be a whole number or nothing at all, not 'many'\.$"),
        ({"test_limit": 0}, r"^test_limit must be 1 or more, not 0\.$"),
        ({"threads": 0}, r"^threads must be 1 or more, not 0\.$"),
        ({"threads": "2"}, r"^threads must be a whole number or nothing at all, not '2'\.$"),
        ({"whole_words": 1}, r"^whole_words must be true or false, not 1\.$"),
        ({"whole_words": "no"}, r"^whole_words must be true or false, not 'no'\.$"),
        ({"task": 5}, r"^task must be a text, not 5\.$"),
        ({"exclude": "film"}, r"^exclude must be a list of texts, not 'film'\.$"),
        ({"exclude": [1]}, r"^exclude must be a list of texts, not \(1,\)\.$"),
        ({"controls": "random"}, r"^controls must be a list of texts, not 'random'\.$"),
        ({"manual_prompts": " It was"}, "^manual_prompts must be a list of texts or nothing"),
        ({"words": ["good"]}, r"^words must be a table or nothing at all, not \['good'\]\.$"),
        ({"words": {"1": 5}}, r"^words must be a table or nothing at all, not {'1': 5}\.$"),
        ({"columns": {"text": 5}}, "^columns must be a table or nothing at all, not"),
        ({"agent_settings": 5}, r"^agent_settings must be a table, not 5\.$"),
        ({"out": 5}, r"^out must be a path or nothing at all, not 5\.$"),
        (
            {"agent": "pppo"},
            r"^Unknown agent 'pppo'\. Did you mean 'ppo'\? Known: bayesian, ",
        ),
        ({"agent_settings": {"n_env": 4}}, r"no setting 'n_env'\. Did you mean 'n_envs'\?"),
        ({"agent_settings": {"n_envs": 0}}, r"^n_envs must be 1 or more, not 0\.$"),
        (
            {"controls": ["randm"]},
            r"^Unknown agent 'randm'\. Did you mean 'random'\? Known: bayesian, ",
        ),
        ({"controls": ["ppo"]}, r"^The agent 'ppo' and the controls \(ppo\) must all be diff"),
        ({"controls": ["random", "random"]}, "must all be different"),
        ({"controls": ["collections:OrderedDict"]}, "is no agent"),
        (
            {"reward": "acuracy"},
            r"^Unknown reward 'acuracy'\. Did you mean 'accuracy'\? Known: accuracy, calibrated_",
        ),
        (
            {"reward": "rlprompt.core.version:__version__"},
            r"^The reward 'rlprompt\.core\.version:__version__' is no function of an evaluation",
        ),
        ({"lm": "smolm2"}, r"^Unknown LM 'smolm2'\. Did you mean 'smollm2'\?"),
        ({"lm": "./nowhere"}, r"^No LM at '\./nowhere': there is no such file or folder\.$"),
        ({"dtype": "float33"}, r"^Unknown dtype 'float33'\. Did you mean 'float32'\?"),
    ],
)
def test_nonsense_is_refused_with_what_to_write(values, message):
    with pytest.raises(ConfigError, match=message):
        RunConfig.parse(values, "mine.toml")
    if [*values] not in (["buget"], ["zzz"]):
        with pytest.raises(ConfigError, match=message):
            RunConfig(**values)


def test_a_toml_file_gives_what_python_gives(tmp_path, tiny_lm):
    path = tmp_path / "run.toml"
    path.write_text(
        f"""
        task = "films.csv"
        lm = {json.dumps(str(tiny_lm))}
        controls = ["random"]
        budget = 2_400
        shots = 4
        exclude = ["film", "movie"]
        manual_prompts = [" It was", ""]
        out = "runs/one"

        [agent_settings]
        n_envs = 8
        learning_rate = 1e-3

        [words]
        1 = ["good", "great"]
        0 = "bad"

        [columns]
        text = "review"
        """,
        encoding="utf-8",
    )
    config = RunConfig.parse(RunConfig.read(path), str(path))
    assert config == RunConfig(
        task="films.csv",
        lm=str(tiny_lm),
        controls=("random",),
        budget=2400,
        shots=4,
        exclude=("film", "movie"),
        manual_prompts=(" It was", ""),
        out=Path("runs/one"),
        agent_settings={"n_envs": 8, "learning_rate": 1e-3},
        words={"1": ["good", "great"], "0": "bad"},
        columns={"text": "review"},
    )
    outcome = config.outcome()
    assert json.loads(json.dumps(outcome)) == outcome
    left_out = {
        "out",
        "threads",
        "data_root",
        "family",
        "pieces",
        "ensemble",
        "fluency",
        "perplexity",
    }
    assert {*outcome} == {f.name for f in fields(RunConfig)} - left_out
    again = RunConfig.parse(json.loads(json.dumps(outcome)))
    assert again.outcome() == outcome


def test_a_weight_is_a_number_from_zero_up():
    assert RunConfig(fluency=1).outcome()["fluency"] == 1.0
    assert "fluency" not in RunConfig(fluency=0).outcome()
    for wrong in (-0.1, float("inf"), float("nan")):
        with pytest.raises(ConfigError, match="fluency must be 0 or more"):
            RunConfig(fluency=wrong)
    with pytest.raises(ConfigError, match=r"perplexity must be 1 or more, not 0\.5"):
        RunConfig(perplexity=0.5)
    for wrong in (True, "0.1", None):
        with pytest.raises(ConfigError, match="fluency must be a number, not"):
            RunConfig(fluency=wrong)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"budget = ", "Cannot read"),
        (b"budget = 1\nbudget = 2", "Cannot read"),
        (b'task = "\xff"', "Cannot read"),
    ],
)
def test_a_file_that_is_no_toml_is_named(content, message, tmp_path):
    path = tmp_path / "run.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"^{message} .*run\.toml: "):
        RunConfig.read(path)
    with pytest.raises(ConfigError, match="No configuration file"):
        RunConfig.read(tmp_path / "other.toml")
    with pytest.raises(ConfigError, match="Cannot read"):
        RunConfig.read(tmp_path)


def test_python_may_give_lists_and_text_for_tuples_and_paths():
    config = RunConfig(controls=["random"], exclude=["a"], out="runs/one")
    assert config.controls == ("random",)
    assert config.exclude == ("a",)
    assert config.out == Path("runs/one")


def test_what_decides_the_outcome_is_json_whatever_python_gave():
    class Watcher: ...

    class Settings(Mapping):
        def __getitem__(self, key):
            return {"callbacks": [Watcher()], "n_envs": 4}[key]

        def __iter__(self):
            return iter(("callbacks", "n_envs"))

        def __len__(self):
            return 2

    outcome = RunConfig(agent_settings=Settings(), words={0: ("bad", "poor"), 1: "good"}).outcome()
    assert outcome["agent_settings"]["n_envs"] == 4
    assert "Watcher" in outcome["agent_settings"]["callbacks"][0]
    assert outcome["words"] == {"0": ["bad", "poor"], "1": "good"}


def test_only_folder_and_threads_do_not_decide_the_outcome():
    assert RunConfig(out="a", threads=1).outcome() == RunConfig(out="b", threads=2).outcome()
    assert RunConfig(seed=1).outcome() != RunConfig(seed=2).outcome()


def test_a_setting_that_came_later_shows_only_where_it_is_used():
    """So the folder of an earlier run is still its own."""
    assert {"family", "pieces"}.isdisjoint(RunConfig().outcome())
    config = RunConfig(family="masked", pieces=True)
    outcome = config.outcome()
    assert (outcome["family"], outcome["pieces"]) == ("masked", True)
    assert config.lm_config().family == "masked"
    with pytest.raises(ConfigError, match=r"Unknown family 'maskd'. Did you mean 'masked'"):
        RunConfig(family="maskd")
