import itertools

import gymnasium
import numpy as np
import pytest
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

from rlprompt.agents.sb3.vec_env import PromptVecEnv
from rlprompt.core.errors import BudgetExhausted, ConfigError
from rlprompt.core.prompt import Prompt
from rlprompt.envs import PromptEnv, PromptVectorEnv
from rlprompt.envs.planted import planted_parts
from rlprompt.objective.objective import Objective

RULES = [
    {"timing": timing, "stop_action": stop, "length": 3}
    for timing, stop in itertools.product(("terminal", "dense"), (False, True))
]


def parts(**settings):
    return planted_parts(vocabulary_size=8, length=3, **settings)[:2]


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("n", [1, 4])
def test_equals_a_dummy_vec_env_of_single_ones(rules, n):
    ours = PromptVecEnv(*parts(), n, **rules)
    theirs = DummyVecEnv([lambda: PromptEnv(*parts(), **rules)] * n)
    assert ours.action_space == theirs.action_space
    assert ours.observation_space == theirs.observation_space
    np.testing.assert_array_equal(ours.reset(), theirs.reset())
    rng = np.random.default_rng(0)
    for _ in range(25):
        np.testing.assert_array_equal(get_action_masks(ours), get_action_masks(theirs))
        actions = rng.integers(ours.action_space.n, size=n)
        *arrays, infos = ours.step(actions)
        *expected, their_infos = theirs.step(actions)
        for array, other in zip(arrays, expected, strict=True):
            np.testing.assert_array_equal(array, other)
            assert array.dtype == other.dtype
        for info, other in zip(infos, their_infos, strict=True):
            other.pop("TimeLimit.truncated")
            assert info.keys() == other.keys()
            for key in info:
                np.testing.assert_array_equal(info[key], other[key])


@pytest.mark.parametrize("rules", RULES)
def test_equals_the_gymnasium_vector_env(rules):
    ours = PromptVecEnv(*parts(), 5, **rules)
    theirs = PromptVectorEnv(*parts(), 5, **rules)
    np.testing.assert_array_equal(ours.reset(), theirs.reset()[0])
    rng = np.random.default_rng(0)
    for _ in range(12):
        actions = rng.integers(ours.action_space.n, size=5)
        observations, rewards, dones, _ = ours.step(actions)
        expected = theirs.step(actions)
        np.testing.assert_array_equal(observations, expected[0])
        np.testing.assert_array_equal(rewards, expected[1].astype(np.float32))
        np.testing.assert_array_equal(dones, expected[2])


def test_one_evaluate_call_a_step(monkeypatch):
    calls = []
    evaluate = Objective.evaluate
    monkeypatch.setattr(
        Objective, "evaluate", lambda self, p: calls.append(len(p)) or evaluate(self, p)
    )
    env = PromptVecEnv(*parts(), 6, length=3)
    env.reset()
    for _ in range(3):
        env.step(np.arange(6))
    assert calls == [6]


def test_attributes_and_methods():
    env = PromptVecEnv(*parts(), 3, length=3, stop_action=True)
    assert env.has_attr("action_masks")
    assert not env.has_attr("no_such_thing")
    assert is_masking_supported(env)
    assert env.get_attr("render_mode") == [None] * 3
    assert env.get_attr("num_envs", indices=1) == [3]
    assert env.env_is_wrapped(gymnasium.Wrapper, indices=[0, 2]) == [False, False]
    assert [m.shape for m in env.env_method("action_masks", indices=[2])] == [(9,)]
    with pytest.raises(AttributeError, match="action_masks"):
        env.env_method("fly")
    with pytest.raises(AttributeError, match="new one"):
        env.set_attr("length", 4)
    env.seed(3)
    env.reset()
    env.close()


def test_settings_that_cannot_be_meant_are_refused():
    with pytest.raises(ConfigError, match="1 or more"):
        PromptVecEnv(*parts(), 0)
    with pytest.raises(ConfigError, match="max_prompt_tokens"):
        PromptVecEnv(*parts(), 2, length=4)


def test_ppo_and_evaluation_run():
    env = VecMonitor(PromptVecEnv(*parts(), 4, length=3))
    model = PPO("MlpPolicy", env, n_steps=3, batch_size=12, n_epochs=1, device="cpu", seed=0)
    model.learn(48)
    assert len(model.ep_info_buffer) == 16
    mean, _ = evaluate_policy(model, env, n_eval_episodes=4)
    assert np.isfinite(mean)


def test_maskable_ppo_never_stops_too_early():
    objective, vocabulary = parts()
    env = VecMonitor(PromptVecEnv(objective, vocabulary, 8, length=3, stop_action=True))
    model = MaskablePPO(
        "MlpPolicy", env, n_steps=6, batch_size=48, n_epochs=1, device="cpu", seed=0
    )
    model.learn(192)
    # Steps of an episode: a token and the stop at least. Unmasked, one in nine has a single step.
    assert {episode["l"] for episode in model.ep_info_buffer} == {2, 3}
    assert Prompt() not in objective.archive


def test_budget_ends_learning_with_everything_in_the_archive():
    objective, vocabulary = parts(budget=16 * 10)
    env = PromptVecEnv(objective, vocabulary, 4, length=3)
    model = PPO("MlpPolicy", env, n_steps=3, batch_size=12, n_epochs=1, device="cpu", seed=0)
    with pytest.raises(BudgetExhausted):
        model.learn(10**6)
    assert objective.remaining < 16
    assert len(objective.archive) >= 10
