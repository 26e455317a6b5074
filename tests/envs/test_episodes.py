import itertools

import gymnasium
import numpy as np
import pytest

from rlprompt.core.errors import BudgetExhausted, ConfigError, SearchStalled
from rlprompt.core.prompt import Prompt
from rlprompt.envs import EpisodeRules, PromptEnv, PromptVectorEnv
from rlprompt.envs.episodes import PromptEpisodes

RULES = [
    {"timing": timing, "stop_action": stop, "min_length": least}
    for timing, stop, least in itertools.product(("terminal", "dense"), (False, True), (0, 1, 2))
]


def rollout(env, actions):
    """Plays one episode; returns what came out of reset and of each step."""
    trace = [env.reset(seed=3)]
    for action in actions:
        trace.append(env.step(action))
        if trace[-1][2]:
            break
    return trace


def flat(trace):
    return [[x.tolist() if isinstance(x, np.ndarray) else x for x in step] for step in trace]


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("free", [True, False])
def test_rewards_sum_to_the_reward_of_the_finished_prompt(parts, rules, free):
    objective, vocabulary = parts(prefixes_are_free=free)
    env = PromptEnv(objective, vocabulary, length=3, **rules)
    rng = np.random.default_rng(0)
    for _ in range(30):
        steps = rollout(env, rng.integers(env.action_space.n, size=3))[1:]
        assert steps[-1][2]
        info = steps[-1][4]
        assert abs(sum(step[1] for step in steps) - info["rlprompt/reward"]) < 1e-9
        ids = objective._tokenizer.encode(info["rlprompt/text"])
        assert objective.evaluate([Prompt(ids)])[0].reward == info["rlprompt/reward"]
        assert all(step[4] == {} for step in steps[:-1])


def test_terminal_timing_pays_at_the_end_alone(parts):
    env = PromptEnv(*parts(), length=3)
    rewards = [step[1] for step in rollout(env, [1, 2, 3])[1:]]
    assert rewards[:2] == [0.0, 0.0]
    assert rewards[2] != 0.0


def test_dense_timing_costs_the_same_where_prefixes_are_free(parts):
    spent = {}
    for timing, free in itertools.product(("terminal", "dense"), (True, False)):
        objective, vocabulary = parts(prefixes_are_free=free)
        rollout(PromptEnv(objective, vocabulary, length=3, timing=timing), [1, 2, 3])
        spent[timing, free] = objective.ledger.forwards
    assert spent == {
        ("terminal", True): 16,
        ("terminal", False): 16,
        ("dense", True): 16,
        ("dense", False): 48,
    }


@pytest.mark.parametrize("rules", RULES)
def test_same_seed_and_actions_give_the_same_everything(parts, rules):
    rng = np.random.default_rng(1)
    env, other = (PromptEnv(*parts(), length=3, **rules) for _ in range(2))
    for _ in range(10):
        actions = rng.integers(env.action_space.n, size=3)
        first = flat(rollout(env, actions))
        assert first == flat(rollout(other, actions)) == flat(rollout(env, actions))


def test_returned_types_are_those_of_python(parts):
    env = PromptEnv(*parts(), length=1)
    env.reset()
    observation, reward, terminated, truncated, info = env.step(np.int64(2))
    assert observation.dtype == np.int64
    assert [type(x) for x in (reward, terminated, truncated)] == [float, bool, bool]
    assert [type(x) for x in info.values()] == [str, float]


def test_what_was_returned_never_changes_and_is_the_callers(parts):
    env = PromptVectorEnv(*parts(), 2, length=3)
    kept = [env.reset()[0]]
    frozen = [kept[0].copy()]
    for actions in ([1, 2], [3, 4], [5, 6], [7, 0]):
        observations, _, _, _, infos = env.step(np.array(actions))
        kept += [observations, *infos.get("final_obs", [])]
        frozen = [*frozen, *(o.copy() for o in kept[len(frozen) :])]
    for one, before in zip(kept, frozen, strict=True):
        np.testing.assert_array_equal(one, before)
    for one in kept:
        one[:] = 99
    masks = env.action_masks()
    masks[:] = False
    assert env.step(np.array([1, 1]))[0].max() < 8
    assert env.action_masks().all()


@pytest.mark.parametrize("least", [0, 1, 2, 3])
def test_stop_is_masked_before_min_length_and_nothing_else_is(parts, least):
    env = PromptEnv(*parts(), length=3, stop_action=True, min_length=least)
    env.reset()
    for n in range(3):
        mask = env.action_masks()
        assert mask.dtype == np.bool_
        assert mask.shape == (9,)
        assert mask[:-1].all()
        assert mask[-1] == (n >= least)
        env.step(0)


@pytest.mark.parametrize("timing", ["terminal", "dense"])
def test_a_masked_stop_ends_the_episode_with_the_short_prompt(parts, timing):
    objective, vocabulary = parts()
    env = PromptEnv(objective, vocabulary, length=3, stop_action=True, min_length=2, timing=timing)
    observation, reward, terminated, _, info = rollout(env, [8])[-1]
    assert observation.tolist() == [-1, -1, -1]
    assert terminated
    assert info == {"rlprompt/text": "", "rlprompt/reward": reward}
    assert reward == objective.evaluate([Prompt()])[0].reward


def test_stop_pays_the_prompt_so_far(parts):
    objective, vocabulary = parts()
    env = PromptEnv(objective, vocabulary, length=3, stop_action=True)
    trace = rollout(env, [4, 2, 8])
    assert trace[-1][0].tolist() == [4, 2, -1]
    assert trace[-1][1] == objective.evaluate([Prompt((5, 3))])[0].reward


@pytest.mark.parametrize("timing", ["terminal", "dense"])
def test_one_evaluate_call_a_step_for_all(parts, spy, timing):
    env = PromptVectorEnv(*parts(), 5, length=3, timing=timing)
    env.reset()
    sizes = []
    for step in range(6):
        env.step(np.arange(5) + step % 3)
        sizes.append(list(spy))
        spy.clear()
    expected = [[5]] * 6 if timing == "dense" else [[], [], [5]] * 2
    assert sizes == expected


def test_budget_exhaustion_surfaces_and_leaves_everything_as_it_was(parts):
    objective, vocabulary = parts(budget=2 * 16)
    env = PromptEnv(objective, vocabulary, length=3)
    rollout(env, [1, 2, 3])
    rollout(env, [1, 2, 4])
    env.reset()
    env.step(5)
    env.step(6)
    for _ in range(2):
        with pytest.raises(BudgetExhausted):
            env.step(7)
    assert objective.ledger.forwards == 32
    # The episode was not touched: a prompt that is known can still end it ...
    assert env._episodes.observations.tolist() == [[5, 6, -1]]
    # ... and a new one can begin.
    assert rollout(env, [1, 2, 3])[-1][2]
    assert len(objective.archive.top(1)) == 1


def test_a_stalled_search_surfaces_unless_it_may_stall(parts):
    env = PromptEnv(*parts(stall_calls=5), length=1)
    for _ in range(5):
        rollout(env, [1])
    with pytest.raises(SearchStalled):
        rollout(env, [1])
    env = PromptEnv(*parts(stall_calls=None), length=1)
    for _ in range(600):
        rollout(env, [1])


def test_a_step_needs_a_reset_before(parts):
    env = PromptEnv(*parts(), length=1)
    with pytest.raises(gymnasium.error.ResetNeeded, match="reset"):
        env.step(0)
    rollout(env, [0])
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(0)


@pytest.mark.parametrize("action", [-1, 8, 1.5, [1, 2]])
def test_actions_that_are_none_are_refused(parts, action):
    episodes = PromptEpisodes(*parts(), 1, EpisodeRules(length=3))
    episodes.reset()
    with pytest.raises(ValueError, match="Actions"):
        episodes.step(np.atleast_1d(action))


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"length": 0}, "length = 0"),
        ({"length": 2, "min_length": 3}, "from 0 to length = 2"),
        ({"timing": "dence"}, "Did you mean 'dense'"),
        ({"length": 4}, "max_prompt_tokens=4"),
        ({"render_mode": "human"}, "ansi"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(parts, rules, message):
    with pytest.raises(ConfigError, match=message):
        PromptEnv(*parts(), **rules)


def test_no_environments_are_refused(parts):
    with pytest.raises(ConfigError, match="1 or more"):
        PromptVectorEnv(*parts(), 0, length=3)


def test_render_shows_text_and_known_reward_and_asks_nothing(parts, spy):
    env = PromptEnv(*parts(), length=2, render_mode="ansi")
    env.reset()
    assert env.render() == "''"
    env.step(0)
    assert env.render() == "' baba'"
    assert spy == []
    reward = env.step(1)[1]
    assert env.render() == f"' baba bage' reward={reward:.4f}"
    assert len(spy) == 1
    assert PromptEnv(*parts(), length=2).render() is None
