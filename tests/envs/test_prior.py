"""The LM's own opinion in the observations of every kind of environment."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from sb3_contrib import MaskablePPO
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from rlprompt.agents.sb3.vec_env import PromptVecEnv
from rlprompt.core.errors import BudgetExhausted, ConfigError
from rlprompt.core.ledger import Ledger
from rlprompt.core.prompt import Prompt
from rlprompt.envs import PromptEnv
from rlprompt.envs.make import prompt_parts
from rlprompt.objective.fluency import rows_of


@pytest.fixture
def settings(prompt_settings):
    return {**prompt_settings, "length": 3, "prior": True}


def said(env, actions):
    """The mean probability of each word behind the examples, asked one by one."""
    objective, ids = env.unwrapped.objective, env.unwrapped.vocabulary.token_ids
    prompt = Prompt(tuple(ids[a] for a in actions))
    scorer = objective._scorer
    each = [
        scorer.next_token_logprobs([row], [prompt], ids, Ledger())[0]
        for row in rows_of(objective.n_examples)
    ]
    return np.exp(each).mean(axis=0)


def test_is_the_mean_of_what_the_lm_says_behind_two_examples(settings):
    env = gymnasium.make("rlprompt/Prompt-v0", **settings)
    observation, _ = env.reset(seed=0)
    for actions in ([], [4], [4, 7]):
        assert observation["prompt"].tolist() == actions + [-1] * (3 - len(actions))
        np.testing.assert_allclose(np.exp(observation["prior"]), said(env, actions), rtol=1e-4)
        assert np.exp(observation["prior"]).sum() == pytest.approx(1, abs=1e-5)
        observation, *_ = env.step([4, 7, 2][len(actions)])
    assert not observation["prior"].any()


def test_costs_two_forwards_for_each_new_beginning(settings):
    env = gymnasium.make("rlprompt/Prompt-v0", **settings)
    ledger, n = env.unwrapped.objective.ledger, env.unwrapped.objective.n_examples
    spent = []
    for actions in ([4, 7, 2], [4, 7, 2], [4, 8, 2], [5, 7, 2]):
        before = ledger.forwards
        env.reset()
        for action in actions:
            env.step(action)
        spent.append(ledger.forwards - before)
    # The first goes on with the two forwards of the empty prompt; what was seen is free.
    assert spent == [2 + n, 0, 2 + n, 2 + n]


@pytest.mark.parametrize("stop_action", [False, True])
def test_vector_environments_show_what_single_ones_do(settings, stop_action):
    settings = {**settings, "stop_action": stop_action}
    objective, vocabulary, rules = prompt_parts(**settings)
    ours = gymnasium.make_vec("rlprompt/Prompt-v0", num_envs=3, **settings)
    sb3 = PromptVecEnv(objective, vocabulary, 3, **rules)
    theirs = SyncVectorEnv(
        [lambda: PromptEnv(*prompt_parts(**settings)[:2], **rules)] * 3,
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    assert ours.observation_space == theirs.observation_space
    rng = np.random.default_rng(0)
    observations = [ours.reset(seed=0)[0], theirs.reset(seed=0)[0], sb3.reset()]
    for _ in range(7):
        for name in ("prompt", "prior"):
            for other in observations[1:]:
                np.testing.assert_allclose(observations[0][name], other[name], atol=1e-5)
            assert observations[0][name].dtype == observations[1][name].dtype
        if stop_action:
            np.testing.assert_allclose(observations[0]["prior"][:, -1], -np.log(30), atol=1e-6)
        actions = rng.integers(ours.single_action_space.n, size=3)
        one, *_, infos = ours.step(actions)
        other, *_, their_infos = theirs.step(actions)
        last, _, dones, sb3_infos = sb3.step(actions)
        observations = [one, other, last]
        assert infos.keys() == their_infos.keys()
        for i in np.flatnonzero(dones):
            ended = sb3_infos[i]["terminal_observation"]
            np.testing.assert_array_equal(ended["prompt"], infos["final_obs"][i]["prompt"])
            assert not ended["prior"].any()
    theirs.close()


def test_checkers_pass_and_a_learner_learns_with_it(settings):
    env = gymnasium.make("rlprompt/Prompt-v0", **settings, stop_action=True)
    check_env(env.unwrapped)
    sb3_check_env(env.unwrapped)
    MaskablePPO("MultiInputPolicy", env, n_steps=8, batch_size=8, device="cpu").learn(8)


def test_a_step_that_the_budget_does_not_cover_leaves_the_episode_as_it_was(settings):
    n = gymnasium.make("rlprompt/Prompt-v0", **settings).unwrapped.objective.n_examples
    env = gymnasium.make("rlprompt/Prompt-v0", **settings, budget=n + 2, render_mode="ansi")
    env.reset()
    for action in (4, 7, 2):
        env.step(action)
    env.reset()
    before = env.render()
    with pytest.raises(BudgetExhausted):
        env.step(5)
    assert env.render() == before
    env.step(4)  # was asked before


def test_an_lm_without_an_opinion_is_named(settings):
    with pytest.raises(ConfigError, match="Leave prior out"):
        gymnasium.make("rlprompt/Prompt-v0", **{**settings, "template": "{prompt} {text}"})
    with pytest.raises(ConfigError, match="Leave prior out"):
        gymnasium.make("rlprompt/Planted-v0", prior=True)
