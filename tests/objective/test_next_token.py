"""What the LM's own next tokens cost, and that they are computed once."""

import numpy as np
import pytest

from rlprompt.core.errors import BudgetExhausted, ConfigError
from rlprompt.core.ledger import Budget
from rlprompt.core.prompt import Prompt
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


def test_an_episode_costs_one_forward_and_scores_nothing(lm):
    objective = make(lm, EvaluationLog())
    for ids in ((), (301,), (301, 302)):
        found = objective.next_token_logprobs([4], [Prompt(ids)], IDS)
        assert found.shape == (1, 40)
        np.testing.assert_allclose(np.exp(found).sum(), 1, atol=1e-5)
        assert objective.ledger.forwards == 1
    assert not len(objective.archive)


@pytest.mark.parametrize(
    ("rows", "prompts", "forwards"),
    [
        ([0, 0], [(), ()], 1),
        ([0, 1], [(), ()], 2),
        ([0, 0], [(301,), (302,)], 2),
        ([2, 2, 3], [(301, 302), (301,), (301, 302)], 3),
    ],
)
def test_other_examples_and_other_beginnings_are_charged(rows, prompts, forwards, lm):
    objective = make(lm, EvaluationLog())
    for _ in range(2):
        objective.next_token_logprobs(rows, [Prompt(ids) for ids in prompts], IDS)
        assert objective.ledger.forwards == forwards


def test_a_forward_goes_on_once(lm):
    objective = make(lm, EvaluationLog())
    objective.next_token_logprobs([0], [Prompt()], IDS)
    branches = [Prompt((301,)), Prompt((302,)), Prompt((303,))]
    objective.next_token_logprobs([0, 0, 0], branches, IDS)
    assert objective.ledger.forwards == 3
    objective.next_token_logprobs([0], [Prompt((302, 301))], IDS)
    assert objective.ledger.forwards == 3


def test_predictions_are_replayed_from_the_log_to_the_bit(lm, tmp_path):
    path = tmp_path / "log.jsonl"
    asked = ([1, 5, 1], [Prompt(), Prompt((301,)), Prompt()], IDS)
    with EvaluationLog(path) as log:
        first = make(lm, log).next_token_logprobs(*asked)
    with EvaluationLog(path) as log:
        objective = make(lm, log)
        tokens = lm.meter.tokens
        again = objective.next_token_logprobs(*asked)
    assert np.array_equal(first, again)
    assert lm.meter.tokens == tokens
    assert (objective.ledger.forwards, objective.ledger.computed) == (2, 0)


def test_predictions_keep_to_the_budget(lm):
    objective = make(lm, EvaluationLog(), forwards=6)
    objective.next_token_logprobs(range(6), [Prompt((n,)) for n in range(301, 307)], IDS)
    with pytest.raises(BudgetExhausted):
        objective.next_token_logprobs([0], [Prompt((310,))], IDS)
    assert objective.ledger.forwards == 6


def test_an_lm_that_cannot_is_named(objective):
    planted = objective()
    assert not planted.predicts_tokens
    with pytest.raises(ConfigError, match="only where the prompt follows"):
        planted.next_token_logprobs([0], [Prompt()], (1, 2))
