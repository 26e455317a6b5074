"""Best of N draws what the LM would say, pays one forward more a prompt, and comes to an end."""

import numpy as np
import pytest

from rlprompt.agents.lm_samples import LMSamples, sample
from rlprompt.agents.moves import Search
from rlprompt.agents.protocol import make_agent
from rlprompt.core.errors import BudgetExhausted, ConfigError, SearchStalled
from rlprompt.core.events import ignore
from rlprompt.core.prompt import Prompt
from rlprompt.objective.objective import Objective


def _chances(given, prompt, temperature=1.0):
    ids = given.problem.vocabulary.token_ids
    scores = given.lm._next_logprobs([prompt], ids)[0] / temperature
    return np.exp(scores) / np.exp(scores).sum()


def _shares(actions, size):
    return np.bincount(actions, minlength=size) / len(actions)


@pytest.fixture
def asked(monkeypatch):
    """Every row and prompt that the LM was asked to go on with."""
    seen = []
    ask = Objective.next_token_logprobs

    def spy(self, rows, prompts, ids):
        seen.append(list(zip(rows, prompts, strict=True)))
        return ask(self, rows, prompts, ids)

    monkeypatch.setattr(Objective, "next_token_logprobs", spy)
    return seen


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_each_token_as_the_lm_would(temperature, planted):
    given = planted(4, 2, prompts=10_000, predicts_tokens=True, seed=5)
    search = Search(given.problem, seed=0, on_event=ignore)
    drawn = np.array(sample(search, 4000, temperature))
    assert drawn.shape == (4000, 2)
    expected = _chances(given, Prompt(), temperature)
    assert expected.max() - expected.min() > 0.1
    assert abs(_shares(drawn[:, 0], 4) - expected).max() < 0.04
    first = int(expected.argmax())
    after = drawn[drawn[:, 0] == first, 1]
    expected = _chances(given, given.problem.prompt([first]), temperature)
    assert abs(_shares(after, 4) - expected).max() < 0.06


def test_a_prompt_stays_behind_its_example_and_examples_are_drawn_evenly(planted, asked):
    given = planted(16, 3, prompts=2000, predicts_tokens=True, n_train=8)
    search = Search(given.problem, seed=0, on_event=ignore)
    drawn = sample(search, 800, 1.0)
    rows = [row for row, _ in asked[0]]
    assert np.bincount(rows, minlength=8).min() > 60
    for step, batch in enumerate(asked):
        prompts = [given.problem.prompt(list(actions[:step])) for actions in drawn]
        assert batch == list(zip(rows, prompts, strict=True))


def test_pays_one_forward_a_prompt_besides_its_score(planted, asked):
    given = planted(64, 3, prompts=100, predicts_tokens=True, n_train=128)
    objective = given.objective
    search = Search(given.problem, seed=0, on_event=ignore)
    batch = sample(search, 6, 1.0)
    assert len({row for row, _ in asked[0]}) == 6
    assert objective.ledger.forwards == 6
    search.score(batch)
    assert objective.ledger.forwards == 6 + 6 * 128


def test_scores_what_it_sampled(planted, asked):
    given = planted(64, 3, prompts=50, predicts_tokens=True)
    given.solve(LMSamples(batch_size=8), 1)
    begun = {prompt for batch in asked for _, prompt in batch if len(prompt) == 2}
    scored = [p for p, _ in given.rewards if len(p) == 3]
    # One more at most, where the rest of the budget covers a prompt and no opinion.
    assert sum(Prompt(p.ids[:2]) not in begun for p in scored) <= 1
    assert {e.metrics["temperature"] for e in given.events if e.metrics} == {1.0}


@pytest.mark.parametrize("prompts", [1, 2, 37])
@pytest.mark.parametrize("rest", [0, 1, 15])
def test_obeys_the_budget_and_leaves_less_than_a_prompt(prompts, rest, planted, asked):
    given = planted(prompts=prompts, rest=rest, predicts_tokens=True)
    over = given.solve(LMSamples())
    assert isinstance(over, BudgetExhausted)
    assert given.objective.archive.best is not None
    assert 0 <= given.objective.remaining < 16
    scores = given.lm.scored_pairs.total()
    opinions = given.objective.ledger.forwards - scores
    assert scores % 16 == 0
    assert 0 <= opinions <= sum(len(batch) for batch in asked[::3])


@pytest.mark.parametrize("temperature", [0.01, 1.0, 100.0])
@pytest.mark.parametrize(("vocab_size", "length"), [(2, 1), (2, 3), (16, 1)])
def test_small_problems_end_with_everything_scored(temperature, vocab_size, length, planted):
    given = planted(vocab_size, length, prompts=1000, n_train=2, predicts_tokens=True)
    over = given.solve(LMSamples(temperature=temperature))
    assert isinstance(over, SearchStalled)
    assert len(given.objective.archive) == sum(vocab_size**n for n in range(1, length + 1))


def test_a_cold_lm_is_warmed_as_long_as_it_repeats_itself(planted):
    given = planted(64, 3, prompts=200, predicts_tokens=True)
    assert isinstance(given.solve(LMSamples(temperature=0.01)), BudgetExhausted)
    temperatures = [e.metrics["temperature"] for e in given.events if e.metrics]
    assert temperatures == sorted(temperatures)
    assert temperatures[0] == 0.01
    assert 0.1 < temperatures[-1] < 3


def test_an_lm_that_cannot_is_refused_before_anything_is_spent(planted):
    given = planted()
    with pytest.raises(ConfigError, match=r"put \{prompt\} behind the input.*'random'"):
        given.solve(LMSamples())
    assert given.objective.ledger.forwards == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, r"^batch_size must be 1 or more, not 0\.$"),
        ({"temperature": 0.0}, r"^temperature must be positive, not 0\.0\.$"),
        ({"temperature": float("nan")}, "temperature must be positive"),
        ({"temperature": float("inf")}, "temperature must be positive"),
    ],
)
def test_what_cannot_be_meant_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        make_agent("lm-samples", settings)
