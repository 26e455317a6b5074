"""The LM's own opinion in the observations of every kind of environment."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from sb3_contrib import MaskablePPO
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from rlprompt.agents.sb3.elites import EliteEpisodes
from rlprompt.agents.sb3.policy import MaskableEmbeddingPolicy
from rlprompt.agents.sb3.vec_env import PromptVecEnv
from rlprompt.core.errors import BudgetExhausted, ConfigError
from rlprompt.core.ledger import Ledger
from rlprompt.core.prompt import Prompt
from rlprompt.envs import PromptEnv
from rlprompt.envs.make import prompt_parts
from rlprompt.objective.objective import Objective
from rlprompt.testing import save_tiny


@pytest.fixture
def settings(prompt_settings):
    return {**prompt_settings, "length": 3, "prior": True}


def said(env, actions):
    """The mean probability of each word behind the first and the middle example."""
    objective, ids = env.unwrapped.objective, env.unwrapped.vocabulary.token_ids
    prompt = Prompt(tuple(ids[a] for a in actions))
    scorer = objective._scorer
    rows = [0, objective.n_examples // 2]
    each = [scorer.next_token_logprobs([row], [prompt], ids, Ledger())[0] for row in rows]
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


@pytest.mark.parametrize("num_envs", [1, 4])
def test_asks_once_for_each_step_and_once_for_the_empty_prompt(settings, num_envs, monkeypatch):
    asked = []
    ask = Objective.next_token_logprobs

    def counted(self, rows, prompts, ids):
        asked.extend(prompts)
        return ask(self, rows, prompts, ids)

    monkeypatch.setattr(Objective, "next_token_logprobs", counted)
    env = gymnasium.make_vec("rlprompt/Prompt-v0", num_envs=num_envs, **settings)
    env.reset()
    for step in range(9):
        env.step(np.arange(num_envs) + step)
    # Behind two examples; the third step of an episode ends it.
    assert len(asked) == 2 + 3 * 2 * 2 * num_envs


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


def test_vector_environments_stand_as_they_did_where_the_budget_ends(settings):
    n = gymnasium.make("rlprompt/Prompt-v0", **settings).unwrapped.objective.n_examples
    settings = {**settings, "budget": n + 2, "render_mode": "ansi"}
    ours = gymnasium.make_vec("rlprompt/Prompt-v0", num_envs=6, **settings)
    del settings["render_mode"]
    objective, vocabulary, rules = prompt_parts(**settings)
    sb3 = PromptVecEnv(objective, vocabulary, 6, **rules)
    ours.reset()
    first = sb3.reset()
    before = ours.render()
    for env in (ours, sb3):
        with pytest.raises(BudgetExhausted):
            env.step(np.arange(6))
    assert ours.render() == before
    # Equal prompts go on with the two forwards of the empty one: these are covered to the end.
    for env in (ours, sb3):
        for action in (3, 4, 5):
            stepped = env.step(np.array([action] * 6))
    np.testing.assert_array_equal(stepped[0]["prior"], first["prior"])


def test_a_reset_that_the_budget_does_not_cover_begins_nothing(settings):
    objective, vocabulary, rules = prompt_parts(**{**settings, "budget": 9, "shots": 4})
    objective.evaluate([Prompt(vocabulary.token_ids[:1])])
    assert objective.remaining == 1
    env = PromptEnv(objective, vocabulary, **rules)
    with pytest.raises(BudgetExhausted):
        env.reset()
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(0)


def test_parts_that_ask_for_the_prior_themselves_say_so(settings):
    objective, vocabulary, rules = prompt_parts(**settings)
    env = PromptVecEnv(objective, vocabulary, 2, **rules)
    with pytest.raises(ConfigError, match=r"prior=1\.0"):
        EliteEpisodes(env, length=3, share=0.5, elites=4, most_free=2, seed=0)
    with pytest.raises(ConfigError, match="EliteEpisodes"):
        MaskablePPO(
            MaskableEmbeddingPolicy,
            env,
            policy_kwargs={"embeddings": np.eye(30, dtype=np.float32), "prior": True},
            device="cpu",
        )


def test_an_lm_without_an_opinion_is_named(settings, tmp_path):
    with pytest.raises(ConfigError, match="Leave prior out"):
        gymnasium.make("rlprompt/Prompt-v0", **{**settings, "template": "{prompt} {text}"})
    with pytest.raises(ConfigError, match="Leave prior out"):
        gymnasium.make("rlprompt/Planted-v0", prior=True)
    unpacked = save_tiny(tmp_path / "lm", "mistral")
    with pytest.raises(ConfigError, match="packed prompts"):
        gymnasium.make("rlprompt/Prompt-v0", **{**settings, "lm": str(unpacked)})
