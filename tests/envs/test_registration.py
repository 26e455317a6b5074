import importlib
import json
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import rlprompt.envs
from rlprompt.core.errors import BudgetExhausted, ConfigError, RunError, TemplateError
from rlprompt.envs import (
    EditKind,
    EditPromptEnv,
    EditPromptVectorEnv,
    PromptEnv,
    PromptVectorEnv,
    make,
)
from rlprompt.envs.planted import planted_actions
from rlprompt.objective.evaluation_log import EvaluationLog
from rlprompt.testing import tiny_masked

VARIANTS = {
    "write": [
        {},
        {"timing": "dense"},
        {"stop_action": True, "min_length": 2},
        {"stop_action": True, "timing": "dense", "render_mode": "ansi"},
    ],
    "edit": [
        {},
        {"timing": "terminal", "render_mode": "ansi"},
        {"min_length": 2, "max_edits": 6},
        {"min_length": 0, "start": ["the", "it was", ""]},
    ],
}
EDITS = ["rlprompt/EditPlanted-v0", "rlprompt/EditPrompt-v0"]
CLASSES = {"write": (PromptEnv, PromptVectorEnv), "edit": (EditPromptEnv, EditPromptVectorEnv)}


def kind_of(name):
    return "edit" if "Edit" in name else "write"


@pytest.mark.parametrize("variant", range(4))
def test_both_checkers_pass(registered, variant):
    name, settings = registered
    kind = kind_of(name)
    variant = VARIANTS[kind][variant]
    env = gymnasium.make(name, **{**settings, **variant})
    assert type(env.unwrapped) is CLASSES[kind][0]
    check_env(env.unwrapped)
    sb3_check_env(env.unwrapped)
    env.close()


def test_all_registered_envs_are_tested(registered):
    ours = {name for name in gymnasium.registry if name.startswith("rlprompt/")}
    assert ours == {
        f"rlprompt/{name}-v0" for name in ("EditPlanted", "EditPrompt", "Planted", "Prompt")
    }
    assert registered[0] in ours


def test_spec_is_json(registered):
    name, settings = registered
    env = gymnasium.make(name, **settings, timing="dense")
    text = env.spec.to_json()
    assert json.loads(text)["kwargs"]["timing"] == "dense"
    again = gymnasium.make(gymnasium.envs.registration.EnvSpec.from_json(text))
    env.action_space.seed(1)
    action = env.action_space.sample()
    env.reset()
    again.reset()
    assert env.step(action)[1] == again.step(action)[1]


def test_module_in_the_id_registers(registered):
    name, settings = registered
    gymnasium.registry.pop(name)
    importlib.reload(rlprompt.envs)
    env = gymnasium.make(f"rlprompt.envs:{name}", **settings)
    assert env.observation_space.contains(env.reset()[0])


def test_registering_twice_is_harmless():
    before = dict(gymnasium.registry)
    rlprompt.envs.register_envs()
    importlib.reload(rlprompt.envs)
    assert gymnasium.registry == before


def test_import_is_light():
    code = (
        "import sys, gymnasium, rlprompt.envs; gymnasium.make('rlprompt/Planted-v0').reset(); "
        "heavy = {'torch', 'transformers', 'stable_baselines3', 'pandas'} & set(sys.modules); "
        "sys.exit(', '.join(heavy) or 0)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


@pytest.mark.parametrize("registered", ["rlprompt/Planted-v0", "rlprompt/Prompt-v0"], indirect=True)
def test_make_vec(registered, spy):
    name, settings = registered
    envs = gymnasium.make_vec(name, num_envs=4, vectorization_mode="vector_entry_point", **settings)
    assert type(envs.unwrapped) is PromptVectorEnv
    assert envs.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    envs.reset(seed=0)
    for row in np.arange(12).reshape(3, 4) % 8:
        _, rewards, terminated, _, _ = envs.step(row)
    assert terminated.all()
    assert spy == [4]
    single = gymnasium.make(name, **settings)
    single.reset()
    for action in (2, 6, 2):
        reward = single.step(action)[1]
    assert abs(reward - rewards[2]) < 1e-5
    assert envs.unwrapped.spec.kwargs["num_envs"] == 4
    json.dumps(envs.unwrapped.spec.kwargs)
    envs.close()


def test_make_vec_of_single_envs_loads_one_lm(prompt_settings, monkeypatch):
    make.forget_parts()
    loads = []
    load = make.load_lm
    monkeypatch.setattr(make, "load_lm", lambda config: loads.append(config) or load(config))
    envs = gymnasium.make_vec(
        "rlprompt/Prompt-v0", num_envs=3, vectorization_mode="sync", **prompt_settings
    )
    gymnasium.make("rlprompt/Prompt-v0", **prompt_settings, timing="dense", length=2)
    assert len(loads) == 1
    objectives = {id(env.unwrapped.objective) for env in envs.envs}
    assert len(objectives) == 3
    envs.close()


def test_a_tasks_own_number_of_shots_holds_unless_given(prompt_settings):
    for given, n in ({}, 8), ({"shots": 2}, 4):
        env = gymnasium.make("rlprompt/Prompt-v0", **prompt_settings, **given)
        assert env.unwrapped.objective.n_examples == n


@pytest.mark.parametrize("name", ["rlprompt/Prompt-v0", "rlprompt/EditPrompt-v0"])
def test_fluency_is_part_of_the_reward(name, prompt_settings):
    plain, fluent = (
        gymnasium.make(name, **prompt_settings, fluency=weight, perplexity=1.0).unwrapped.objective
        for weight in (0.0, 0.5)
    )
    prompt = plain.prompt(" film was")
    (one,), (other,) = plain.evaluate([prompt]), fluent.evaluate([prompt])
    assert other.reward == pytest.approx(one.reward + 0.5 * fluent.fluency.of(prompt))
    assert fluent.fluency.of(prompt) < 0


def play_until_over(env, *, single):
    """Plays random actions until the budget is spent; returns how many rewards were estimates."""
    objective, estimates = env.unwrapped.objective, 0
    env.action_space.seed(0)
    with suppress(BudgetExhausted):
        env.reset(seed=0)
        while True:
            _, _, over, truncated, info = env.step(env.action_space.sample())
            if single and (over or truncated):
                prompt = objective.prompt(info["rlprompt/text"])
                assert objective.knows(prompt)
                estimates += prompt not in objective.archive
                env.reset()
    return estimates


@pytest.mark.parametrize("timing", ["terminal", "dense"])
@pytest.mark.parametrize("name", ["rlprompt/Prompt-v0", "rlprompt/EditPrompt-v0"])
@pytest.mark.parametrize("num_envs", [None, 3])
def test_racing_drops_bad_prompts_early(name, timing, num_envs, prompt_settings):
    length = {"max_length": 2, "max_edits": 2} if "Edit" in name else {"length": 2}
    settings = {**prompt_settings, **length, "shots": 16, "timing": timing, "budget": 1500}
    cost = {}
    for racing in (False, True):
        made = {**settings, "racing": racing}
        if num_envs is None:
            env = gymnasium.make(name, **made)
        else:
            env = gymnasium.make_vec(name, num_envs=num_envs, **made)
        estimates = play_until_over(env, single=num_envs is None)
        objective = env.unwrapped.objective
        assert 1500 - objective.n_examples * (num_envs or 1) < objective.ledger.forwards <= 1500
        cost[racing] = objective.ledger.forwards / objective.proposed
        assert (estimates > 0) == (racing and num_envs is None)
    assert cost[True] < cost[False]


def test_vocabulary_leaves_out_label_words(prompt_settings):
    vocabulary = gymnasium.make("rlprompt/Prompt-v0", **prompt_settings).unwrapped.vocabulary
    assert len(vocabulary) == 30
    assert not {" good", " bad"} & set(vocabulary.texts)


@pytest.mark.parametrize("name", ["rlprompt/Planted-v0", "rlprompt/Prompt-v0"])
def test_each_env_has_its_own_budget(name, prompt_settings):
    settings = prompt_settings if name == "rlprompt/Prompt-v0" else {}
    for _ in range(2):
        env = gymnasium.make(name, **settings, length=1, budget=16)
        n = 16 // env.unwrapped.objective.n_examples
        for action in range(n):
            env.reset()
            env.step(action)
        env.reset()
        with pytest.raises(BudgetExhausted):
            env.step(n)
        assert len(env.unwrapped.objective.archive) == n


def test_log_is_shared_in_the_process_and_written(prompt_settings, tmp_path):
    path = tmp_path / "folder" / "scores.log"
    settings = {**prompt_settings, "length": 1, "log": str(path)}
    rewards = []
    for _ in range(2):
        env = gymnasium.make("rlprompt/Prompt-v0", **settings)
        env.reset()
        rewards.append(env.step(3)[1])
    assert env.unwrapped.objective.ledger.replayed == env.unwrapped.objective.n_examples
    with pytest.raises(RunError, match="in use"):
        EvaluationLog(path)
    make.forget_parts()
    with EvaluationLog(path) as log:
        assert len(log) == 1
    env = gymnasium.make("rlprompt/Prompt-v0", **settings)
    env.reset()
    assert [env.step(3)[1]] * 2 == rewards
    assert env.unwrapped.objective.ledger.computed == 0
    make.forget_parts()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reward": "acuracy"}, "Did you mean 'accuracy'"),
        ({"task": "movie-review"}, "Did you mean 'movie-reviews'"),
        ({"lm": "smollm"}, "Did you mean 'smollm2'"),
        ({"timing": "end"}, "Known: terminal, dense"),
        ({"budget": 1}, "budget"),
        ({"render_mode": "human"}, "ansi"),
    ],
)
def test_wrong_settings_are_refused(prompt_settings, settings, message):
    with pytest.raises(ConfigError, match=message):
        gymnasium.make("rlprompt/Prompt-v0", **{**prompt_settings, **settings})


def test_prompts_have_to_fill_the_slots_of_the_template(prompt_settings, tmp_path):
    task = tmp_path / "films.toml"
    films = Path(prompt_settings["task"])
    values = films.read_text(encoding="utf-8").replace("films.csv", str(films.parent / "films.csv"))
    task.write_text(f'template = "{{text}} {{prompt:3}}"\n{values}', encoding="utf-8")
    settings = {**prompt_settings, "task": str(task)}
    assert gymnasium.make("rlprompt/Prompt-v0", **settings, length=3)
    with pytest.raises(ConfigError, match="hold 3 tokens, not 5"):
        gymnasium.make("rlprompt/Prompt-v0", **settings)


def test_a_masked_lm_takes_a_template_and_words(prompt_settings, tmp_path):
    for part in tiny_masked("bert"):
        part.save_pretrained(tmp_path / "lm")
    given = {**prompt_settings, "lm": str(tmp_path / "lm"), "length": 2}
    env = gymnasium.make("rlprompt/Prompt-v0", **given)
    env.reset(seed=0)
    env.step(1)
    with pytest.raises(TemplateError, match=re.escape("has no {mask}")):
        env.step(2)
    words = {"negative": "not good", "positive": ["fine"]}
    env = gymnasium.make(
        "rlprompt/Prompt-v0", **given, template="{text} {prompt} {mask} .", words=words
    )
    assert "good" not in " ".join(env.unwrapped.vocabulary.texts)
    env.reset(seed=0)
    rewards = [env.step(action)[1] for action in (1, 2)]
    assert rewards[0] == 0
    assert rewards[1] < 0


@pytest.mark.parametrize("registered", EDITS, indirect=True)
def test_make_vec_of_edits(registered, spy):
    name, settings = registered
    envs = gymnasium.make_vec(name, num_envs=4, vectorization_mode="vector_entry_point", **settings)
    assert type(envs.unwrapped) is EditPromptVectorEnv
    assert envs.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    envs.reset(seed=0)
    append = np.array([[EditKind.APPEND, 0, token] for token in (2, 6, 2, 1)])
    _, rewards, _, _, _ = envs.step(append)
    assert spy == [4, 4]
    assert envs.unwrapped.objective.ledger.forwards <= 4 * envs.unwrapped.objective.n_examples
    single = gymnasium.make(name, **settings)
    single.reset()
    assert abs(single.step(append[1])[1] - rewards[1]) < 1e-5
    json.dumps(envs.unwrapped.spec.kwargs)
    envs.close()


@pytest.mark.parametrize("registered", EDITS, indirect=True)
@pytest.mark.parametrize("setting", ["length", "stop_action"])
def test_settings_of_other_envs_are_refused(registered, setting):
    name, settings = registered
    with pytest.raises(TypeError, match=setting):
        gymnasium.make(name, **settings, **{setting: 1})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"start": "manul"}, "Did you mean 'manual'"),
        ({"start": "the film is"}, "write a list"),
        ({"start": []}, "empty list"),
        ({"start": [7]}, "is no text"),
        ({"start": "manual"}, "None of the task's 0 manual prompts"),
        ({"start": ["the film was good and it was"]}, "more than max_length = 3"),
        ({"min_length": 3, "max_edits": 2}, "allow more edits"),
        ({"max_length": 0}, "max_length = 0"),
        ({"min_length": 4}, "from 0 to max_length = 3"),
        ({"max_edits": 0}, "max_edits = 0"),
        ({"timing": "dence"}, "Did you mean 'dense'"),
        ({"render_mode": "human"}, "ansi"),
    ],
)
def test_wrong_settings_of_edits_are_refused(prompt_settings, settings, message):
    with pytest.raises(ConfigError, match=message):
        gymnasium.make("rlprompt/EditPrompt-v0", **{**prompt_settings, "max_length": 3, **settings})


def test_episodes_start_from_manual_prompts(prompt_settings, tmp_path):
    task = tmp_path / "films.toml"
    films = Path(prompt_settings["task"])
    values = films.read_text(encoding="utf-8").replace("films.csv", str(films.parent / "films.csv"))
    manual = 'manual_prompts = [" It was", " In short, the film", " , said the"]'
    task.write_text(f"{manual}\n{values}", encoding="utf-8")
    settings = {**prompt_settings, "task": str(task), "max_length": 12, "start": "manual"}
    env = gymnasium.make("rlprompt/EditPrompt-v0", **settings, render_mode="ansi")
    seen = set()
    for seed in range(12):
        observation, _ = env.reset(seed=seed)
        again, _ = env.reset(seed=seed)
        np.testing.assert_equal(observation, again)
        assert (observation["prompt"] == len(env.unwrapped.vocabulary)).any()  # ',' is no action
        seen.add(env.render().split(" reward")[0])
    assert seen == {"' It was'", "' In short, the film'", "' , said the'"}


def test_a_misspelt_setting_is_named(registered):
    with pytest.raises(TypeError, match="lenght"):
        gymnasium.make(registered[0], lenght=3)


@pytest.mark.parametrize("smoothness", [0.0, 0.4])
def test_planted_actions_are_the_best(smoothness):
    size, length = 4, 3
    env = gymnasium.make(
        "rlprompt/Planted-v0", vocabulary_size=size, length=length, smoothness=smoothness
    )
    returns = {}
    for actions in np.ndindex(*[size] * length):
        env.reset()
        for action in actions:
            reward = env.step(action)[1]
        returns[actions] = reward
    best = tuple(planted_actions(vocabulary_size=size, length=length))
    assert max(returns, key=returns.get) == best
    assert sorted(returns.values())[-2] < returns[best]


def test_plain_ppo_learns_a_little():
    env = gymnasium.make("rlprompt/Planted-v0", vocabulary_size=4, length=2)
    PPO("MlpPolicy", env, n_steps=32, batch_size=32, n_epochs=1, device="cpu", seed=0).learn(64)
    assert env.unwrapped.objective.archive.best is not None
