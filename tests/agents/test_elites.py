"""Episodes that keep tokens of the best prompts, and the rewards of the learner."""

import numpy as np
import pytest
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported

from rlprompt.agents.sb3.elites import EliteEpisodes, Moments
from rlprompt.agents.sb3.vec_env import PromptVecEnv
from rlprompt.core.errors import SearchOver
from rlprompt.core.prompt import Prompt

LENGTH, ACTIONS = 4, 8


def test_moments_are_mean_and_deviation_of_what_came_so_far():
    moments, values = Moments(), [3.0, -1.0, 2.5, 7.0]
    assert moments.standardize(5.0) == 5
    for n, value in enumerate(values, 1):
        moments.add(value)
        assert moments.count == n
        assert moments.mean == pytest.approx(np.mean(values[:n]))
    expected = (5 - np.mean(values)) / np.std(values, ddof=1)
    assert moments.standardize(5.0) == pytest.approx(expected)


def test_equal_values_are_worth_nothing():
    moments = Moments()
    for _ in range(3):
        moments.add(2.0)
        assert moments.standardize(2.0) == 0


@pytest.fixture
def make(planted):
    """Returns a function that makes the environment, 12 prompts scored before if asked."""

    def made(share, *, scored=12, elites=4, most_free=2, n_envs=6, **rules):
        problem = planted(ACTIONS, LENGTH, prompts=10**6).problem
        drawn = np.random.default_rng(0).integers(0, ACTIONS, (scored, LENGTH))
        if scored:
            problem.objective.evaluate([problem.prompt(row.tolist()) for row in drawn])
        env = PromptVecEnv(problem.objective, problem.vocabulary, n_envs, length=LENGTH, **rules)
        return EliteEpisodes(
            env, length=LENGTH, share=share, elites=elites, most_free=most_free, seed=0
        )

    return made


def play(env, rng):
    """Plays one episode of each prompt with random valid actions; yields every step."""
    observations = env.reset()
    for _ in range(LENGTH):
        masks = env.action_masks()
        actions = np.array([rng.choice(np.flatnonzero(mask)) for mask in masks])
        stepped = env.step(actions)
        yield observations, masks, actions, stepped
        observations = stepped[0]


def test_share_0_is_the_environment_underneath(make):
    env = make(0.0)
    for step, (observations, masks, actions, _) in enumerate(play(env, np.random.default_rng(1))):
        assert env.observation_space.shape == (LENGTH + 1,)
        assert all(observation in env.observation_space for observation in observations)
        assert (observations[:, -1] == step).all()
        assert (observations[:, step:-1] == -1).all()
        assert masks.all()
        assert len(actions) == 6


def test_until_there_are_enough_elites_nothing_is_kept(make):
    env = make(1.0, scored=3)
    for _, masks, *_ in play(env, np.random.default_rng(1)):
        assert masks.all()


@pytest.mark.parametrize("most_free", [1, 2, 9])
def test_kept_tokens_are_those_of_elites_and_free_ones_differ(most_free, make):
    env = make(1.0, most_free=most_free, n_envs=40)
    best = [
        [env._action_of[token] for token in entry.prompt.ids]
        for entry in env._objective.archive.ranked()
        if len(entry.prompt) == LENGTH
    ][:4]
    free = np.zeros((40, LENGTH), bool)
    chosen = np.zeros((40, LENGTH), int)
    for step, (observations, masks, actions, _) in enumerate(play(env, np.random.default_rng(1))):
        free[:, step] = masks.sum(axis=1) > 1
        chosen[:, step] = actions
        # One token is masked where the policy chooses, all but one where it does not.
        assert {*masks.sum(axis=1).tolist()} <= {1, ACTIONS - 1}
        kept = ~free[:, step]
        assert (observations[kept, step] == actions[kept]).all()
        assert (observations[~kept, step] == -1).all()
    assert {*free.sum(axis=1).tolist()} == {*range(1, min(most_free, LENGTH) + 1)}
    for position in range(LENGTH):
        theirs = {prompt[position] for prompt in best}
        assert {*chosen[~free[:, position], position].tolist()} <= theirs


def test_prompts_that_no_episode_writes_are_no_elites(make):
    env = make(1.0)
    best = env._best()
    ids = tuple(env._token_ids[a] for a in (7, 6, 5, 4))
    env._objective.archive.add(Prompt(ids, sizes=(1,)), 99.0, 1)
    assert [reward for _, reward in env._best()] == [reward for _, reward in best]
    env._objective.archive.add(Prompt(ids), 98.0, 1)
    assert env._best()[0][1] == 98


def test_rewards_are_gains_over_the_parent_in_units_of_their_spread(make):
    env = make(1.0)
    observations = list(play(env, np.random.default_rng(1)))
    _, scaled, dones, infos = observations[-1][-1]
    assert dones.all()
    assert scaled.dtype == np.float32
    entries = {e.reward for e in env._objective.archive.ranked()}
    raw = [info["rlprompt/reward"] for info in infos]
    assert {*raw} <= entries
    # Nothing is paid before the end.
    assert all(not step[-1][1].any() for step in observations[:-1])
    assert env._gains.count == 6
    assert env._scratch.count == 0


def test_from_nowhere_a_reward_is_standardized_by_all_before(make):
    env = make(0.0)
    *_, (_, scaled, _, infos) = [step[-1] for step in play(env, np.random.default_rng(1))]
    raw = [info["rlprompt/reward"] for info in infos]
    for n in range(2, 7):
        expected = (raw[n - 1] - np.mean(raw[:n])) / np.std(raw[:n], ddof=1)
        assert scaled[n - 1] == pytest.approx(expected, rel=1e-5)


def test_finished_observations_fit_the_space(make):
    env = make(0.5, stop_action=True)
    rng = np.random.default_rng(1)
    env.reset()
    for _ in range(30):
        masks = env.action_masks()
        assert masks.any(axis=1).all()
        actions = np.array([rng.choice(np.flatnonzero(mask)) for mask in masks])
        observations, _, dones, infos = env.step(actions)
        assert all(each in env.observation_space for each in observations)
        for i in np.flatnonzero(dones):
            assert infos[i]["terminal_observation"] in env.observation_space


def test_learners_find_the_masks(make):
    env = make(1.0)
    env.reset()
    assert is_masking_supported(env)
    np.testing.assert_array_equal(get_action_masks(env), env.action_masks())
    [mask] = env.env_method("action_masks", indices=2)
    np.testing.assert_array_equal(mask, env.action_masks()[2])


def test_the_seed_decides(make):
    first, again = (
        [s[0].tolist() for s in play(make(0.5), np.random.default_rng(1))] for _ in range(2)
    )
    assert first == again


def test_the_end_of_the_budget_passes_through(planted):
    problem = planted(ACTIONS, LENGTH, prompts=2).problem
    env = PromptVecEnv(problem.objective, problem.vocabulary, 4, length=LENGTH)
    env = EliteEpisodes(env, length=LENGTH, share=0.5, elites=2, most_free=2, seed=0)
    with pytest.raises(SearchOver):
        list(play(env, np.random.default_rng(0)))
