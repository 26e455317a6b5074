import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st

from rlprompt.core.errors import BudgetExhausted, ConfigError
from rlprompt.core.prompt import Prompt
from rlprompt.envs import EditKind, EditPromptEnv, EditPromptVectorEnv, EditRules
from rlprompt.envs.edit_rules import edited
from rlprompt.envs.planted import planted_actions, planted_parts
from rlprompt.envs.starts import Elites

V, L = 8, 3
STARTS = ["", " baro", " baro bano", " baro bano bade", " the baro"]


def parts(**given):
    return planted_parts(vocabulary_size=V, length=L, **given)[:2]


def make(start=("",), *, budget=None, **rules):
    objective, vocabulary = parts(budget=budget)
    return EditPromptEnv(objective, vocabulary, start=start, max_length=L, **rules)


def act(kind, position=0, token=0):
    return np.array([kind, position, token])


def shown(observation):
    return observation["prompt"][observation["prompt"] >= 0].tolist()


def random_action(env, rng):
    """An action of which each number is valid by the mask."""
    parts = np.split(env.action_masks(), np.cumsum(env.action_space.nvec)[:-1])
    return np.array([rng.choice(np.flatnonzero(part)) for part in parts])


def test_edits():
    env = make([" baro bano"], max_edits=9)
    assert shown(env.reset()[0]) == [3, 7]
    for action, after in (
        (act(EditKind.REPLACE, 1, 4), [3, 4]),
        (act(EditKind.INSERT, 0, 5), [5, 3, 4]),
        (act(EditKind.DELETE, 1), [5, 4]),
        (act(EditKind.APPEND, 1, 6), [5, 4, 6]),
        (act(EditKind.DELETE, 2), [5, 4]),
        (act(EditKind.STOP), [5, 4]),
    ):
        observation, _, terminated, truncated, _ = env.step(action)
        assert shown(observation) == after
        assert observation["length"] == len(after)
        assert not truncated
    assert terminated
    assert observation["edits_left"] == 3
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(act(EditKind.STOP))


@given(
    start=st.lists(st.integers(1, V), max_size=L),
    least=st.integers(0, L),
    edits=st.integers(L, 7),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=40, deadline=None)
def test_masked_random_actions_never_leave_what_is_allowed(start, least, edits, seed):
    env = make([Prompt(tuple(start))], min_length=least, max_edits=edits, timing="terminal")
    rng = np.random.default_rng(seed)
    before, _ = env.reset(seed=0)
    while True:
        action = random_action(env, rng)
        observation, _, terminated, truncated, _ = env.step(action)
        assert env.observation_space.contains(observation)
        # Every valid action does what it says: nothing is clipped, and nothing left undone.
        kind, position, token = action.tolist()
        assert shown(observation) == list(
            edited(tuple(shown(before)), EditKind(kind), position, token)
        )
        assert kind in (EditKind.APPEND, EditKind.STOP) or position < max(len(shown(before)), 1)
        assert not truncated
        if terminated:
            break
        before = observation
    assert least <= observation["length"] <= L


@given(length=st.integers(0, 4), left=st.integers(1, 6), least=st.integers(0, 4))
def test_some_kind_is_always_possible(length, left, least):
    assert EditRules(max_length=4, min_length=least).kinds(length, left).any()


def test_what_is_masked_changes_nothing_and_ends_at_last():
    env = make(min_length=1, max_edits=3)
    env.reset()
    for kind in (EditKind.STOP, EditKind.DELETE, EditKind.REPLACE):
        assert not env.action_masks()[kind]
        observation, reward, terminated, _, info = env.step(act(kind, 2, 5))
        assert shown(observation) == []
        assert reward == 0
    assert terminated
    assert info["rlprompt/text"] == ""
    # A position beyond the prompt means its last token.
    env.reset(options={"prompt": " baro bano"})
    assert shown(env.step(act(EditKind.REPLACE, 2, 5))[0]) == [3, 5]


@pytest.mark.parametrize("timing", ["dense", "terminal"])
def test_rewards_sum_to_the_gain_over_the_start(timing):
    env = make(STARTS, timing=timing, max_edits=5)
    rng = np.random.default_rng(0)
    for seed in range(20):
        observation, _ = env.reset(seed=seed)
        first = float(observation["reward"][0])
        gains, done = [], False
        while not done:
            observation, gain, done, _, info = env.step(random_action(env, rng))
            gains.append(gain)
        again = env.objective.evaluate([env.objective.prompt(info["rlprompt/text"])])[0]
        assert again.reward == info["rlprompt/reward"]
        assert abs(first + sum(gains) - info["rlprompt/reward"]) < 1e-6
        assert observation["reward"][0] == np.float32(info["rlprompt/reward"])
        assert timing == "dense" or not any(gains[:-1])


@pytest.mark.parametrize(("timing", "prompts"), [("dense", 3), ("terminal", 2)])
def test_what_timing_costs_and_that_the_way_back_is_free(timing, prompts):
    env = make([" bade"], timing=timing)
    n = env.objective.n_examples
    env.reset()
    for token in (3, 7):
        env.step(act(EditKind.REPLACE, 0, token))
    env.step(act(EditKind.STOP))
    assert env.objective.ledger.forwards == prompts * n
    env.reset()
    env.step(act(EditKind.REPLACE, 0, 7))
    env.step(act(EditKind.REPLACE, 0, 5))
    env.step(act(EditKind.STOP))
    assert env.objective.ledger.forwards == prompts * n


def test_budget_truncates_once_and_is_raised_then():
    objective, _ = parts()
    n = objective.n_examples
    env = make([" bade"], budget=2 * n)
    env.reset()
    env.step(act(EditKind.REPLACE, 0, 1))
    observation, reward, terminated, truncated, info = env.step(act(EditKind.REPLACE, 0, 2))
    assert (reward, terminated, truncated) == (0.0, False, True)
    assert shown(observation) == [1]
    assert info["rlprompt/reward"] == env.objective.evaluate([Prompt((2,))])[0].reward
    env.reset()
    for _ in range(2):
        with pytest.raises(BudgetExhausted):
            env.step(act(EditKind.REPLACE, 0, 3))
    assert shown(env._episodes.observations) == [5]
    assert shown(env.step(act(EditKind.REPLACE, 0, 1))[0]) == [1]  # known, so free
    with pytest.raises(BudgetExhausted):
        env.reset(options={"prompt": " baro"})
    assert env.objective.ledger.forwards == 2 * n


def test_budget_of_many_scores_those_that_it_covers():
    objective, vocabulary = parts(budget=3 * 16)
    envs = EditPromptVectorEnv(objective, vocabulary, 3, start=[" bade"], max_length=L)
    envs.reset(seed=0)
    actions = np.array([act(0, 0, 1), act(0, 0, 2), act(0, 0, 3)])
    _, rewards, terminated, truncated, infos = envs.step(actions)
    assert truncated.tolist() == [False, False, True]
    assert not terminated.any()
    assert rewards[2] == 0 != rewards[0]
    assert infos["final_info"]["rlprompt/text"][2] == " bade"
    before = envs._episodes.observations
    with pytest.raises(BudgetExhausted):
        envs.step(actions + np.array([0, 0, 4]))
    np.testing.assert_equal(envs._episodes.observations, before)


def test_an_edit_whose_text_needs_more_tokens_is_not_made(monkeypatch):
    env = make(max_edits=3)
    canonical = env.objective.canonical
    longer = {Prompt((2, 3)): Prompt((2, 3, 3, 3)), Prompt((2, 4)): Prompt((5,))}
    monkeypatch.setattr(env.objective, "canonical", lambda p: longer.get(p) or canonical(p))
    env.reset()
    env.step(act(EditKind.APPEND, 0, 1))
    observation, reward, _, _, _ = env.step(act(EditKind.APPEND, 0, 2))
    assert shown(observation) == [1]
    assert reward == 0
    # What is scored is what the text encodes to.
    observation, _, terminated, _, info = env.step(act(EditKind.APPEND, 0, 3))
    assert shown(observation) == [1, 3]
    assert terminated
    assert info["rlprompt/text"] == env.objective.text(Prompt((5,)))
    assert info["rlprompt/reward"] == env.objective.evaluate([Prompt((5,))])[0].reward


@pytest.mark.parametrize("timing", ["dense", "terminal"])
@pytest.mark.parametrize("n", [1, 4])
def test_equals_gymnasiums_own_vector_env_of_single_ones(timing, n):
    rules = {"timing": timing, "max_length": L, "max_edits": 4, "start": STARTS}
    ours = EditPromptVectorEnv(*parts(), n, **rules)
    theirs = SyncVectorEnv(
        [lambda: EditPromptEnv(*parts(), **rules)] * n, autoreset_mode=AutoresetMode.SAME_STEP
    )
    assert ours.single_observation_space == theirs.single_observation_space
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    assert ours.metadata == theirs.metadata
    np.testing.assert_equal(ours.reset(seed=1), theirs.reset(seed=1))
    rng = np.random.default_rng(2)
    for _ in range(25):
        np.testing.assert_array_equal(ours.action_masks(), np.stack(theirs.call("action_masks")))
        actions = rng.integers(ours.single_action_space.nvec, size=(n, 3))
        *left, infos = ours.step(actions)
        *right, expected = theirs.step(actions)
        np.testing.assert_equal(left, right)
        assert repr(infos) == repr(expected)
        assert all(a.dtype == right[0][name].dtype for name, a in left[0].items())
    theirs.close()


def test_rewards_do_not_depend_on_the_number_of_envs():
    actions = np.random.default_rng(5).integers([5, L, V], size=(12, 6, 3))
    runs = []
    for width in (1, 2, 6):
        columns = []
        for first in range(0, 6, width):
            envs = EditPromptVectorEnv(*parts(), width, start=STARTS, max_length=L, max_edits=4)
            envs.reset(seed=first)
            columns.append([envs.step(row[first : first + width])[1] for row in actions])
        runs.append(np.concatenate(columns, axis=1))
    np.testing.assert_array_equal(runs[0], runs[1])
    np.testing.assert_array_equal(runs[0], runs[2])
    assert np.ptp(runs[0]) > 0.1


def test_same_seed_and_actions_give_the_same_everything():
    traces = []
    for _ in range(2):
        env, rng = make(STARTS, max_edits=4), np.random.default_rng(1)
        trace = [repr(env.reset(seed=7))]
        for _ in range(30):
            trace.append(repr(step := env.step(random_action(env, rng))))
            if step[2]:
                trace.append(repr(env.reset()))
        traces.append(trace)
    assert traces[0] == traces[1]
    assert traces[0][0] == repr(make(STARTS, max_edits=4).reset(seed=7))


def test_one_evaluate_call_a_step(spy):
    envs = EditPromptVectorEnv(*parts(), 5, max_length=L, max_edits=3)
    envs.reset()
    for _ in range(2):
        envs.step(np.array([act(EditKind.APPEND, 0, t) for t in range(5)]))
    assert spy == [5, 5, 5]


def test_starts_of_a_vector_env():
    envs = EditPromptVectorEnv(*parts(), 2, max_length=L, render_mode="ansi")
    envs.reset(options={"prompt": [" baro", " bano"]})
    assert [text.split(" reward")[0] for text in envs.render()] == ["' baro'", "' bano'"]
    envs.reset(options={"prompt": " bade", "reset_mask": np.array([False, True])})
    assert [text.split(" reward")[0] for text in envs.render()] == ["' baro'", "' bade'"]
    with pytest.raises(ConfigError, match="one for each of 2"):
        envs.reset(options={"prompt": [" baro"]})
    with pytest.raises(ConfigError, match="7 is no text"):
        envs.reset(options={"prompt": [" baro", 7]})


def test_starts_may_be_a_function_and_the_archives_best():
    env = make(lambda rng: Prompt((int(rng.integers(1, 5)),)))
    assert len({tuple(shown(env.reset(seed=s)[0])) for s in range(20)}) == 4
    objective, vocabulary = parts()
    elites = Elites(objective, max_length=2, count=3)
    env = EditPromptEnv(objective, vocabulary, start=elites, max_length=L)
    assert shown(env.reset(seed=0)[0]) == []
    objective.evaluate([Prompt((a, b, 1)) for a in range(1, 5) for b in range(1, 5)])
    best = [e.prompt for e in objective.archive.ranked() if len(e.prompt) <= 2][:3]
    drawn = {tuple(shown(env.reset(seed=s)[0])) for s in range(30)}
    assert drawn == {tuple(i - 1 for i in prompt.ids) for prompt in best}


def test_what_was_returned_never_changes_and_is_the_callers():
    env = make(max_edits=3)
    kept = [env.reset()[0]]
    frozen = [repr(kept[0])]
    for token in range(3):
        kept.append(env.step(act(EditKind.APPEND, 0, token))[0])
        frozen.append(repr(kept[-1]))
    assert [repr(o) for o in kept] == frozen
    env.reset()[0]["prompt"][:] = 5
    env.action_masks()[:] = False
    assert shown(env._episodes.observations) == []
    assert env.action_masks().any()


@pytest.mark.parametrize("action", [[0, 0], [5, 0, 0], [0, 3, 0], [0, 0, 8], [0, 0, -1], [0.5] * 3])
def test_actions_that_are_none_are_refused(action):
    env = make()
    env.reset()
    with pytest.raises(ValueError, match="Actions"):
        env.step(np.array(action))


def test_settings_that_cannot_be_meant_are_refused():
    with pytest.raises(ConfigError, match="one text"):
        make("the film")
    with pytest.raises(ConfigError, match="max_prompt_tokens=4"):
        EditPromptEnv(*parts(), max_length=4)
    with pytest.raises(ConfigError, match="1 or more"):
        EditPromptVectorEnv(*parts(), 0, max_length=L)


def test_the_planted_prompt_is_reached_by_appending():
    env = gymnasium.make("rlprompt/EditPlanted-v0", vocabulary_size=V, max_length=L, max_edits=4)
    observation, _ = env.reset()
    gains = [
        env.step(act(EditKind.APPEND, 0, token))[1]
        for token in planted_actions(vocabulary_size=V, length=L)
    ]
    best = max(
        entry.reward
        for entry in (
            env.unwrapped.objective.evaluate(
                [Prompt(tuple(np.array(ids) + 1)) for ids in np.ndindex(V, V, V)]
            )
        )
    )
    assert abs(observation["reward"][0] + sum(gains) - best) < 1e-6
