"""The command on the page gives the very configuration of the run."""

import shlex
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from rlprompt.cli.app import app
from rlprompt.compare.config import CompareConfig
from rlprompt.html.commands import compare_command, optimize_command
from rlprompt.run.config import RunConfig


class CaughtError(Exception):
    pass


@pytest.fixture
def given(monkeypatch, tmp_path):
    """Returns a function that gives a command and returns the configuration it comes to."""

    def caught(config, *rest, **named):
        raise CaughtError(config)

    monkeypatch.setattr("rlprompt.run.parts.task_of", caught)
    monkeypatch.setattr("rlprompt.cli.show_compare.show_plan", lambda out, config: caught(config))

    def command(text):
        name, *words = shlex.split(text)
        assert name == "rlprompt"
        with pytest.raises(CaughtError) as found:
            typer.main.get_command(app)(words, standalone_mode=False)
        return found.value.args[0]

    return command


RUNS = [
    {},
    {"agent": "ppo", "agent_settings": {"n_envs": 8, "learning_rate": 0.001, "stop_action": True}},
    {"agent": "genetic", "controls": ("random", "greedy"), "racing": True, "seed": 3},
    {"whole_words": False, "pieces": True, "exclude": ("very", "-odd"), "shots": 4},
    {"template": '{text} It\'s "{prompt}" $HOME', "manual_prompts": (" It was", "--so", "")},
    {"words": {"neg": ["bad", "awful"], "pos": "good"}, "columns": {"label": "a b"}},
    {"dtype": "bfloat16", "device": "cpu", "family": "causal", "test_limit": 7, "budget": 123},
]


@pytest.mark.parametrize("settings", RUNS)
def test_optimize(result, given, tiny_lm, settings):
    config = RunConfig(lm=str(tiny_lm), out=Path("runs/a b"), **settings)
    made = replace(result, config=config.outcome())
    again = given(optimize_command(made, Path("runs/a b")))
    assert again.outcome() == config.outcome() | settings_as_given(settings)
    assert again.out == config.out


def settings_as_given(settings):
    """A single word is a list of one where flags gave it, which is the same."""
    words = settings.get("words")
    return {"words": {"neg": ["bad", "awful"], "pos": ["good"]}} if words else {}


COMPARISONS = [
    {"agents": ["random", "genetic+racing"], "fixed": ["empty"], "reach": -0.5},
    {"agents": ["ppo"], "tuners": ["soft-prompt"], "budgets": [10, 20], "seeds": [0, 1]},
    {"agents": ["random"], "words": {"a": ["b"]}, "exclude": ["c"], "whole_words": False},
]


@pytest.mark.parametrize("settings", COMPARISONS)
def test_compare(given, tiny_lm, settings):
    pytest.importorskip("matplotlib")
    config = CompareConfig.parse({**settings, "lm": str(tiny_lm), "out": "runs/c"})
    command, file = compare_command(config.to_json(), Path("runs/c"))
    assert file == ""
    assert given(command).to_json() == config.to_json()


def test_compare_with_methods_of_its_own(given, tiny_lm, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    methods = {
        "wide one": {"agent": "ppo", "settings": {"n_envs": 32, "lm_prior": 0.5}},
        "short": {"tuner": "soft-prompt", "settings": {}},
    }
    values = {"agents": ["wide one", "random"], "tuners": ["short"], "methods": methods}
    values |= {"lm": str(tiny_lm), "words": {"a": "b"}, "out": "runs/c"}
    config = CompareConfig.parse(values)
    command, file = compare_command(config.to_json(), Path("runs/c"))
    assert tomllib.loads(file)["methods"].keys() == methods.keys()
    (tmp_path / "comparison.toml").write_text(file, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert given(command).to_json() == config.to_json()
