import itertools

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from rlprompt.envs import PromptEnv, PromptVectorEnv

RULES = [
    {"timing": timing, "stop_action": stop}
    for timing, stop in itertools.product(("terminal", "dense"), (False, True))
]


def same(one, other):
    """Compares infos, arrays and object arrays of arrays in them included."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            same(one[key], other[key])
    elif isinstance(one, tuple):
        for left, right in zip(one, other, strict=True):
            same(left, right)
    elif isinstance(one, np.ndarray) and one.dtype == object:
        assert [repr(x) for x in one] == [repr(x) for x in other]
    else:
        np.testing.assert_array_equal(one, other)
        assert np.asarray(one).dtype == np.asarray(other).dtype


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("n", [1, 4])
def test_equals_gymnasiums_own_vector_env_of_single_ones(parts, rules, n):
    ours = PromptVectorEnv(*parts(), n, length=3, **rules)
    theirs = SyncVectorEnv(
        [lambda: PromptEnv(*parts(), length=3, **rules)] * n,
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    for name in (
        "action_space",
        "observation_space",
        "single_action_space",
        "single_observation_space",
        "metadata",
    ):
        assert getattr(ours, name) == getattr(theirs, name)
    same(ours.reset(seed=1), theirs.reset(seed=1))
    rng = np.random.default_rng(2)
    for _ in range(25):
        masks = np.stack(theirs.call("action_masks"))
        np.testing.assert_array_equal(ours.action_masks(), masks)
        assert masks.any(axis=1).all()
        actions = rng.integers(ours.single_action_space.n, size=n)
        same(ours.step(actions), theirs.step(actions))
    theirs.close()
    ours.close()


@pytest.mark.parametrize("rules", RULES)
def test_rewards_do_not_depend_on_the_number_of_envs(parts, rules):
    rng = np.random.default_rng(5)
    actions = rng.integers(8, size=(9, 6))
    runs = []
    for width in (1, 2, 6):
        columns = []
        for start in range(0, 6, width):
            env = PromptVectorEnv(*parts(), width, length=3, **rules)
            env.reset()
            columns.append(np.stack([env.step(row[start : start + width])[1] for row in actions]))
        runs.append(np.concatenate(columns, axis=1))
    np.testing.assert_array_equal(runs[0], runs[1])
    np.testing.assert_array_equal(runs[0], runs[2])


def test_reset_mask_begins_some_anew(parts):
    env = PromptVectorEnv(*parts(), 3, length=3)
    env.reset()
    env.step(np.array([1, 2, 3]))
    observations, _ = env.reset(options={"reset_mask": np.array([False, True, False])})
    assert observations[:, 0].tolist() == [1, -1, 3]


def test_render(parts):
    env = PromptVectorEnv(*parts(), 2, length=3, render_mode="ansi")
    env.reset()
    env.step(np.array([0, 1]))
    assert env.render() == ("' baba'", "' bage'")
    assert PromptVectorEnv(*parts(), 2, length=3).render() is None


def test_episode_statistics_wrapper(parts):
    env = gymnasium.wrappers.vector.RecordEpisodeStatistics(PromptVectorEnv(*parts(), 2, length=2))
    env.reset()
    env.step(np.array([0, 1]))
    _, rewards, _, _, infos = env.step(np.array([0, 1]))
    np.testing.assert_allclose(infos["episode"]["r"], rewards)
