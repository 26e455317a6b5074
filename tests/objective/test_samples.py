"""Prompts sampled from the LM: what they cost, and that they are sampled once."""

import pytest

from rlprompt.core.errors import BudgetExhausted, ConfigError
from rlprompt.core.ledger import Budget
from rlprompt.lm.causal import CausalLM
from rlprompt.objective.evaluation_log import EvaluationLog
from rlprompt.objective.objective import Objective
from rlprompt.objective.split_scorer import Question, SplitScorer
from rlprompt.rewards.functions import calibrated_log_likelihood
from rlprompt.testing import planted_task, tiny_causal

IDS = tuple(range(300, 340))


@pytest.fixture(scope="module")
def lm():
    return CausalLM(*tiny_causal("llama"))


def make(lm, log, forwards=100):
    task = planted_task(6, 2, 2)
    scorer = SplitScorer(lm, Question(task.template, task.verbalizer, 3), task.train, log)
    return Objective(
        scorer, lm.tokenizer, calibrated_log_likelihood, Budget(forwards), max_prompt_tokens=3
    )


def test_each_sample_costs_one_forward_and_is_not_scored(lm):
    objective = make(lm, EvaluationLog())
    samples = objective.sample_prompts(10, IDS, length=3, seed=0)
    assert len(samples) == 10
    assert {len(p) for p in samples} == {3}
    assert {token for p in samples for token in p.ids} <= set(IDS)
    assert objective.ledger.forwards == objective.ledger.computed == 10
    assert not len(objective.archive)


def test_samples_repeat_by_seed_and_are_replayed_from_the_log(lm, tmp_path):
    path = tmp_path / "log.jsonl"
    with EvaluationLog(path) as log:
        first = make(lm, log).sample_prompts(8, IDS, length=3, seed=1)
        other = make(lm, log).sample_prompts(8, IDS, length=3, seed=2)
    with EvaluationLog(path) as log:
        objective = make(lm, log)
        tokens = lm.meter.tokens
        again = objective.sample_prompts(8, IDS, length=3, seed=1)
    assert again == first != other
    assert lm.meter.tokens == tokens
    assert (objective.ledger.forwards, objective.ledger.computed) == (8, 0)
    assert objective.ledger.replayed == 8


def test_samples_keep_to_the_budget(lm):
    objective = make(lm, EvaluationLog(), forwards=7)
    with pytest.raises(BudgetExhausted):
        objective.sample_prompts(8, IDS, length=3, seed=0)
    assert objective.ledger.forwards == 0


def test_an_lm_that_cannot_propose_is_named(objective):
    planted = objective()
    assert not planted.samples_prompts
    with pytest.raises(ConfigError, match="only where the prompt follows"):
        planted.sample_prompts(2, (1, 2), length=2, seed=0)
