"""What every registered agent must hold to; a new one is enrolled by registering it."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from rlprompt.agents.protocol import AGENTS, make_agent
from rlprompt.core.errors import BudgetExhausted, ConfigError, SearchStalled
from rlprompt.objective.objective import Objective
from rlprompt.objective.racing import Racing

every_agent = pytest.mark.parametrize("name", [*AGENTS])
#: Agents that learn nothing from rewards: no planted prompt of many can be asked of them.
UNINFORMED = {"random", "lm-samples"}
#: Agents that pay for the LM's opinion beside their prompts.
ASKING = {"lm-samples"}
informed_agent = pytest.mark.parametrize("name", sorted({*AGENTS} - UNINFORMED))


@pytest.fixture
def planted(planted, request):
    """Problems whose LM says next tokens where the agent under test asks for them."""
    asks = request.getfixturevalue("name") in ASKING if "name" in request.fixturenames else False
    return partial(planted, predicts_tokens=asks)


@every_agent
@pytest.mark.parametrize("rest", [0, 1, 15])
def test_obeys_the_budget_to_the_forward(name, rest, planted):
    given = planted(prompts=37, rest=rest, prefixes_are_free=False)
    over = given.solve(make_agent(name, {}))
    assert isinstance(over, BudgetExhausted)
    scored = given.lm.scored_pairs.total()
    assert scored % 16 == 0
    if name in ASKING:
        assert 0 <= given.objective.remaining < 16
        assert scored < given.objective.ledger.forwards
    else:
        assert given.objective.ledger.forwards == scored == 37 * 16
        assert given.objective.remaining == rest


@every_agent
@pytest.mark.parametrize("rest", [0, 15])
def test_obeys_the_budget_where_prefixes_are_free(name, rest, planted):
    given = planted(prompts=37, rest=rest)
    assert isinstance(given.solve(make_agent(name, {})), BudgetExhausted)
    assert 37 * 16 - 16 < given.objective.ledger.forwards <= 37 * 16 + rest


@every_agent
def test_same_seed_same_proposals(name, planted):
    first, again, other = (planted() for _ in range(3))
    for given, seed in ((first, 5), (again, 5), (other, 6)):
        given.solve(make_agent(name, {}), seed)
    assert first.rewards == again.rewards
    assert first.objective.archive.trace == again.objective.archive.trace
    assert [e.metrics for e in first.events] == [e.metrics for e in again.events]
    assert first.rewards != other.rewards


@every_agent
def test_an_agent_keeps_nothing_between_searches(name, planted):
    agent = make_agent(name, {})
    first, again = planted(), planted()
    first.solve(agent, 5)
    again.solve(agent, 5)
    assert first.rewards == again.rewards


@every_agent
def test_is_blind_to_the_state_of_global_generators(name, planted):
    first, again = planted(prompts=40), planted(prompts=40)
    np.random.seed(1)  # noqa: NPY002 - the state that must not matter
    first.solve(make_agent(name, {}))
    np.random.seed(2)  # noqa: NPY002
    again.solve(make_agent(name, {}))
    assert first.rewards == again.rewards


@every_agent
def test_proposes_prompts_of_the_vocabulary_and_length(name, planted, monkeypatch):
    proposed = []
    evaluate = Objective.evaluate
    monkeypatch.setattr(
        Objective, "evaluate", lambda self, p: proposed.extend(p) or evaluate(self, p)
    )
    given = planted()
    given.solve(make_agent(name, {}))
    allowed = set(given.problem.vocabulary.token_ids)
    assert len(proposed) >= 64
    assert {len(prompt) for prompt in proposed} <= {1, 2, 3}
    assert all(set(prompt.ids) <= allowed for prompt in proposed)


@every_agent
def test_tells_of_its_progress(name, planted):
    given = planted()
    given.solve(make_agent(name, {}))
    assert len(given.events) >= 3
    assert {(e.phase, e.total) for e in given.events} == {("search", 64 * 16)}
    for one, other in pairwise(given.events):
        assert one.forwards <= other.forwards <= one.total
        assert one.best_reward <= other.best_reward
    last, best = given.events[-1], given.objective.archive.best
    assert last.best_reward <= best.reward
    assert last.best_text.split()
    assert all(np.isfinite(value) for e in given.events for value in e.metrics.values())


@every_agent
@pytest.mark.parametrize(("vocab_size", "length"), [(2, 1), (2, 3), (16, 1)])
def test_smallest_problems_end_with_everything_scored(name, vocab_size, length, planted):
    given = planted(vocab_size, length, prompts=1000, n_train=2)
    over = given.solve(make_agent(name, {}))
    assert isinstance(over, SearchStalled)
    assert len(given.objective.archive) == sum(vocab_size**n for n in range(1, length + 1))
    assert given.objective.archive.best.prompt == given.lm.optimum


@informed_agent
def test_finds_the_planted_prompt_and_beats_random(name, planted):
    found = 0
    for seed in range(3):
        informed, control = (planted(32, 3, prompts=400, seed=seed) for _ in range(2))
        informed.solve(make_agent(name, {}), seed)
        control.solve(make_agent("random", {}), seed)
        best, theirs = informed.objective.archive.best, control.objective.archive.best
        assert best.reward > theirs.reward or best.prompt == informed.lm.optimum
        found += best.prompt == informed.lm.optimum
    # One of 32,768 prompts: 400 random ones hold it once in 80 runs.
    assert found >= 2


@every_agent
def test_races_within_the_budget(name, planted):
    given = planted(prompts=60, racing=Racing())
    given.solve(make_agent(name, {}))
    objective = given.objective
    assert objective.ledger.forwards <= objective.budget.forwards
    assert len(objective.archive) > 0


@every_agent
def test_a_budget_of_one_prompt_buys_one(name, planted):
    given = planted(prompts=1)
    assert isinstance(given.solve(make_agent(name, {})), BudgetExhausted)
    assert given.objective.archive.best is not None


@every_agent
def test_settings_are_frozen_and_json_values(name):
    agent = make_agent(name, {})
    setting = next(iter(vars(agent)))
    with pytest.raises(AttributeError):
        setattr(agent, setting, 3)


@pytest.mark.parametrize("batch_size", [1, 5])
def test_random_draws_the_same_in_any_batches(batch_size, planted):
    whole, parts = planted(prompts=30), planted(prompts=30)
    whole.solve(make_agent("random", {"batch_size": 16}))
    parts.solve(make_agent("random", {"batch_size": batch_size}))
    assert {p for p, _ in whole.rewards} == {p for p, _ in parts.rewards}


def test_random_is_uniform(planted):
    given = planted(vocab_size=4, length=6, prompts=2000, n_train=2, stall_calls=None)
    given.solve(make_agent("random", {"batch_size": 64}))
    full = np.array([p.ids for p, _ in given.rewards if len(p) == 6])
    shares = np.array([(full == token).mean(axis=0) for token in range(1, 5)])
    assert len(full) == 2000
    assert abs(shares - 0.25).max() < 0.04


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("pppo", {}, r"^Unknown agent 'pppo'\. Did you mean 'ppo'\? Known: bayesian, "),
        ("ppo", {"lerning_rate": 1}, r"no setting 'lerning_rate'\. Did you mean 'learning_rate'\?"),
        ("ppo", {"n_envs": 0}, r"^n_envs must be 1 or more, not 0\.$"),
        ("ppo", {"n_envs": "many"}, "n_envs of the agent 'ppo' must be of type int, not 'many'"),
        ("ppo", {"n_envs": 1.5}, "must be of type int, not 1.5"),
        ("ppo", {"n_envs": True}, "must be of type int, not True"),
        ("ppo", {"stop_action": "maybe"}, "must be of type bool, not 'maybe'"),
        ("ppo", {"callbacks": "mine"}, "callbacks of the agent 'ppo' must be of type tuple"),
        ("ppo", {"log_folder": 5}, "log_folder must be a path"),
        ("ppo", {"learning_rate": 0.0}, "learning_rate must be positive"),
        ("ppo", {"learning_rate": float("nan")}, "learning_rate must be positive"),
        ("ppo", {"learning_rate": float("inf")}, "learning_rate must be positive"),
        ("ppo", {"entropy": 2}, r"entropy must lie in \[0, 1\], not 2"),
        ("random", {"batch_size": 0}, "batch_size must be 1 or more"),
        ("random", {"batch_size": None}, "batch_size of the agent 'random' must be of type int"),
        ("rlprompt.core.prompt:Prompt", {}, "is no agent: it must be a dataclass of settings"),
        ("rlprompt.core.errors:suggest", {}, "is no agent"),
        ("collections:OrderedDict", {}, "is no agent"),
        (":NoModule", {}, "is no import path"),
        ("no module:Agent", {}, "is no import path"),
        ("..ppo:Agent", {}, "is no import path"),
    ],
)
def test_what_cannot_be_meant_is_refused(name, settings, message):
    with pytest.raises(ConfigError, match=message):
        make_agent(name, settings)


def test_whole_numbers_do_for_fractions():
    assert make_agent("ppo", {"gae_lambda": 1}).gae_lambda == 1


def test_an_agent_can_be_named_by_import_path():
    agent = make_agent("rlprompt.agents.random_search:RandomSearch", {"batch_size": 3})
    assert agent == make_agent("random", {"batch_size": 3})
