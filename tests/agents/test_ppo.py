"""PPO: it finds a planted prompt, starts again when it collapses, and lets its user watch."""

import numpy as np
import pytest
from stable_baselines3.common.callbacks import BaseCallback

from rlprompt.agents.protocol import make_agent
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


def test_finds_one_of_65536_prompts_on_every_seed_and_random_on_none(planted):
    for seed in SEEDS:
        learner, control = (planted(256, 2, prompts=320, seed=seed) for _ in range(2))
        learner.solve(make_agent("ppo", {}), seed)
        control.solve(make_agent("random", {}), seed)
        assert learner.objective.archive.best.prompt == learner.lm.optimum
        assert control.objective.archive.best.prompt != control.lm.optimum


@pytest.mark.parametrize(
    "settings",
    [{"stop_action": True}, {"elite_share": 0.0}, {"stop_action": True, "elite_share": 0.0}],
)
def test_plain_ppo_and_prompts_of_any_length_learn_too(settings, planted):
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
    assert start <= weights[0] <= 3 * start
    steps = np.array(weights[1:]) / weights[:-1]
    assert steps.max() == pytest.approx(3.0)
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
