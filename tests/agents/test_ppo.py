"""PPO: it finds a planted prompt, starts again when it collapses, and lets its user watch."""

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from rlprompt.agents.protocol import make_agent
from rlprompt.agents.sb3.reward_scale import StandardizedReward
from rlprompt.core.errors import BudgetExhausted, ConfigError, SearchStalled
from rlprompt.core.prompt import Prompt

SEEDS = range(5)


def test_finds_the_planted_prompt_and_beats_random_on_every_seed(planted):
    found = []
    for seed in SEEDS:
        learner, control = (planted(64, 3, prompts=360, seed=seed) for _ in range(2))
        learner.solve(make_agent("ppo", {}), seed)
        control.solve(make_agent("random", {}), seed)
        best, theirs = learner.objective.archive.best, control.objective.archive.best
        assert best.reward > theirs.reward
        found.append(best.prompt == learner.lm.optimum)
    # One of 262,144 prompts; 360 random ones would hold it once in 700 runs.
    assert sum(found) >= 4


@pytest.mark.parametrize(
    "settings", [{"dense": True}, {"stop_action": True}, {"dense": True, "stop_action": True}]
)
def test_other_ways_to_pay_and_to_end_learn_too(settings, planted):
    learner, control = planted(32, 2, prompts=160), planted(32, 2, prompts=160)
    assert isinstance(learner.solve(make_agent("ppo", settings)), BudgetExhausted)
    control.solve(make_agent("random", {}))
    assert learner.objective.archive.best.reward > control.objective.archive.best.reward


def test_a_stop_action_gives_prompts_of_all_lengths_but_never_the_empty_one(planted, monkeypatch):
    given = planted(16, 4, prompts=200)
    proposed = []
    evaluate = given.objective.evaluate
    monkeypatch.setattr(given.objective, "evaluate", lambda p: proposed.extend(p) or evaluate(p))
    given.solve(make_agent("ppo", {"stop_action": True}))
    assert {len(prompt) for prompt in proposed} == {1, 2, 3, 4}
    assert Prompt() not in given.objective.archive


def test_a_dense_reward_costs_no_forwards(planted):
    given = planted(16, 3, prompts=48)
    given.solve(make_agent("ppo", {"dense": True}))
    full = [p for p, _ in given.rewards if len(p) == 3]
    assert len(full) == given.objective.ledger.forwards / 16 == 48


def test_a_collapsed_policy_is_reported_and_replaced(planted):
    given = planted(4, 2, prompts=1000, stall_calls=60)
    over = given.solve(make_agent("ppo", {"collapse_patience": 2}))
    assert isinstance(over, SearchStalled)
    collapsed = [event for event in given.events if event.message]
    assert len(collapsed) > 3
    assert {e.message for e in collapsed} == {
        "the policy collapsed: fewer than 25% of its last prompts were new; it starts again, the "
        "archive stays"
    }
    assert [e.metrics["restarts"] for e in collapsed] == [*range(len(collapsed))]
    assert all(e.metrics["new"] < 0.25 for e in collapsed)
    assert len(given.objective.archive) == 4 + 16


def test_the_entropy_bonus_rises_while_nothing_is_new(planted):
    given = planted(4, 2, prompts=1000, stall_calls=40)
    given.solve(make_agent("ppo", {"collapse_patience": 30}))
    weights = [event.metrics["entropy_weight"] for event in given.events]
    start = 0.02 / np.log(4)
    assert start <= weights[0] <= 1.5 * start
    assert weights[-1] == max(weights) == pytest.approx(100 * start)


def test_events_hold_diagnostics(planted):
    given = planted(16, 3, prompts=64)
    given.solve(make_agent("ppo", {}))
    first, *later = given.events
    assert first.metrics["new"] == 1
    assert first.metrics["entropy_weight"] == pytest.approx(0.02 / np.log(16))
    assert first.metrics["forwards"] == first.forwards == 16 * 16
    # Known from the first update on, and near that of the uniform policy then.
    assert later[0].metrics["entropy"] == pytest.approx(np.log(16), abs=0.05)
    for event in given.events:
        assert event.metrics["best"] == event.best_reward >= event.metrics["mean_reward"]
        assert 0 <= event.metrics["new"] <= 1


class Recorder(BaseCallback):
    """A user's own callback."""

    def __init__(self):
        super().__init__()
        self.texts = []

    def _on_step(self):
        self.texts += [i["rlprompt/text"] for i in self.locals["infos"] if "rlprompt/text" in i]
        return True


def test_a_callback_of_ones_own_sees_every_prompt(planted):
    mine = Recorder()
    given = planted(16, 3, prompts=48)
    given.solve(make_agent("ppo", {"callbacks": [mine]}))
    assert len(mine.texts) >= 48
    best = given.objective.archive.best
    assert any(t.startswith(given.objective.text(best.prompt)) for t in mine.texts)


def test_learning_curves_go_to_the_folder(planted, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    given = planted(16, 3, prompts=80)
    given.solve(make_agent("ppo", {"log_folder": str(tmp_path / "curves")}))
    [folder] = (tmp_path / "curves").iterdir()
    curves = EventAccumulator(str(folder))
    curves.Reload()
    assert {"rlprompt/new", "rlprompt/best", "rlprompt/forwards", "train/entropy_loss"} <= {
        *curves.Tags()["scalars"]
    }
    steps = [(e.step, e.value) for e in curves.Scalars("rlprompt/forwards")]
    assert steps[:2] == [(48, 256), (96, 512)]


def test_a_missing_package_is_named_when_the_agent_is_made(monkeypatch):
    monkeypatch.setattr("rlprompt.agents.sb3.ppo.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs the package torch: pip install 'rlprompt\[rl\]'"):
        make_agent("ppo", {})


class Script(VecEnv):
    """Two environments that pay what they are told."""

    def __init__(self, steps):
        self.steps = iter(steps)
        self.render_mode = None
        super().__init__(2, gym.spaces.Box(-1, 1, (1,)), gym.spaces.Discrete(2))

    def reset(self):
        return np.zeros((2, 1), np.float32)

    def step_async(self, actions): ...

    def step_wait(self):
        rewards, dones = next(self.steps)
        return self.reset(), np.array(rewards, np.float32), np.array(dones), [{}, {}]

    def close(self): ...

    def get_attr(self, attr_name, indices=None):
        return [getattr(self, attr_name)] * 2

    def set_attr(self, attr_name, value, indices=None): ...

    def env_method(self, method_name, *args, indices=None, **kwargs): ...

    def env_is_wrapped(self, wrapper_class, indices=None):
        return [False, False]


def scaled(steps):
    env = StandardizedReward(Script(steps))
    env.reset()
    return [env.step(np.zeros(2, np.int64))[1] for _ in steps]


def test_rewards_are_standardized_by_all_returns_so_far():
    steps = [([1, 3], [True, True]), ([2, 6], [True, True])]
    first, second = scaled(steps)
    np.testing.assert_allclose(first, (np.array([1, 3]) - 2) / np.std([1, 3], ddof=1), rtol=1e-6)
    returns = [1, 3, 2, 6]
    expected = (np.array([2, 6]) - np.mean(returns)) / np.std(returns, ddof=1)
    np.testing.assert_allclose(second, expected, rtol=1e-6)
    assert second.dtype == np.float32


def test_the_mean_is_taken_off_once_an_episode():
    steps = [([1, 5], [False, True]), ([2, 1], [True, False])]
    first, second = scaled(steps)
    # Returns: 5 after the first step; 5 and 1 + 2 after the second.
    np.testing.assert_allclose(first, [1, 0], rtol=1e-6)
    np.testing.assert_allclose(
        second, (np.array([2, 1]) - [4, 0]) / np.std([5, 3], ddof=1), rtol=1e-6
    )


def test_equal_returns_are_worth_nothing():
    for rewards in scaled([([2, 2], [True, True])] * 3):
        np.testing.assert_array_equal(rewards, 0)
