"""Fluency: what it costs, what it adds to a reward, and who says so."""

import numpy as np
import pytest

from rlprompt.core.errors import BudgetExhausted, ConfigError
from rlprompt.core.ledger import Budget, Ledger
from rlprompt.core.prompt import Prompt
from rlprompt.lm.causal import CausalLM
from rlprompt.objective.evaluation_log import EvaluationLog
from rlprompt.objective.fluency import EXAMPLES, Fluency
from rlprompt.objective.objective import Objective
from rlprompt.objective.racing import Racing
from rlprompt.objective.selection import RacePlan, race
from rlprompt.objective.split_scorer import Question, SplitScorer
from rlprompt.rewards.functions import calibrated_log_likelihood
from rlprompt.testing import planted_task, tiny_causal

N = 6
WEIGHT = 0.5
PROMPTS = [Prompt((301, 302, 303)), Prompt((304, 305)), Prompt((306,)), Prompt((301, 302))]


@pytest.fixture(scope="module")
def lm():
    return CausalLM(*tiny_causal("llama"))


def scorer_of(lm, log=None, part="train", template=None):
    task = planted_task(N, 4, 2) if template is None else planted_task(N, 4, 2, template=template)
    question = Question(task.template, task.verbalizer, 3)
    return SplitScorer(lm, question, getattr(task, part), log or EvaluationLog())


def make(lm, fluency=WEIGHT, *, log=None, forwards=1000, racing=None, perplexity=1.0):
    return Objective(
        scorer_of(lm, log),
        lm.tokenizer,
        calibrated_log_likelihood,
        Budget(forwards),
        max_prompt_tokens=3,
        fluency=fluency,
        perplexity=perplexity,
        racing=racing,
    )


def read_by_hand(lm, prompt):
    """The mean log-probability of a token, from the scorer, behind the first and the middle."""
    scorer = scorer_of(lm).scorer
    found = scorer.prompt_logprobs([0, N // 2], [prompt, prompt])
    return float(np.mean([tokens.sum() for tokens in found])) / len(prompt)


def by_fluency(lm):
    """Two prompts without prefixes, the more fluent one first."""
    return sorted([Prompt((304,)), Prompt((306,))], key=lambda p: -read_by_hand(lm, p))


def test_a_reward_is_that_of_the_examples_and_the_weighted_fluency(lm):
    plain = make(lm, 0.0).evaluate(PROMPTS)
    fluent = make(lm).evaluate(PROMPTS)
    for one, other in zip(plain, fluent, strict=True):
        expected = one.reward + WEIGHT * read_by_hand(lm, one.prompt)
        assert other.reward == pytest.approx(expected, abs=1e-4)
    order = [np.argsort([s.reward for s in found]).tolist() for found in (plain, fluent)]
    assert order[0] != order[1]


def test_more_fluent_than_enough_is_worth_nothing(lm):
    plain = make(lm, 0.0).evaluate(PROMPTS)
    read = [read_by_hand(lm, prompt) for prompt in PROMPTS]
    enough = sorted(read)[1] + 0.01
    lacking = make(lm, perplexity=np.exp(-enough)).evaluate(PROMPTS)
    for one, other, own in zip(plain, lacking, read, strict=True):
        expected = one.reward + WEIGHT * min(0.0, own - enough)
        assert other.reward == pytest.approx(expected, abs=1e-4)
    assert sum(one.reward == other.reward for one, other in zip(plain, lacking, strict=True)) == 2


def test_a_prompt_costs_its_readings_too_and_its_prefixes_nothing(lm):
    objective = make(lm)
    assert objective.cost == N + EXAMPLES
    objective.evaluate([PROMPTS[0]])
    assert objective.ledger.forwards == N + EXAMPLES
    objective.evaluate([PROMPTS[0], PROMPTS[3], Prompt((301,))])
    assert objective.ledger.forwards == N + EXAMPLES
    assert objective.prefix_rewards(PROMPTS[0])[1] == objective.evaluate([PROMPTS[3]])[0].reward
    assert make(lm, 0.0).cost == N


def test_the_budget_holds(lm):
    objective = make(lm, forwards=3 * (N + EXAMPLES) - 1)
    with pytest.raises(BudgetExhausted):
        objective.evaluate(PROMPTS[:3])
    assert objective.ledger.forwards == 2 * (N + EXAMPLES)
    with pytest.raises(ConfigError, match=f"at least {N + EXAMPLES}"):
        make(lm, forwards=N)


def test_a_search_that_is_read_again_computes_nothing(lm, tmp_path):
    path = tmp_path / "log.jsonl"
    with EvaluationLog(path) as log:
        first = [s.reward for s in make(lm, log=log).evaluate(PROMPTS)]
    with EvaluationLog(path) as log:
        tokens = lm.meter.tokens
        again = make(lm, log=log)
        assert [s.reward for s in again.evaluate(PROMPTS)] == first
        assert lm.meter.tokens == tokens
        assert again.ledger.computed == 0
        assert again.ledger.forwards == again.ledger.replayed


def test_racing_without_a_margin_for_anybody_gives_the_same_rewards(lm):
    plain = make(lm).evaluate(PROMPTS)
    raced = make(lm, racing=Racing((0.5, 0.5), 1, 1e9))
    for one, other in zip(plain, raced.evaluate(PROMPTS), strict=True):
        assert other.complete
        assert other.reward == pytest.approx(one.reward, abs=1e-5)
    # Read once, with the first heat.
    assert raced.ledger.forwards == 3 * (N + EXAMPLES)


def test_racing_counts_fluency_as_certain(lm):
    """A far more fluent prompt runs to the end, a far less fluent one for a heat."""
    fluent, clumsy = by_fluency(lm)
    objective = make(lm, 1e3, racing=Racing((0.5, 0.5), 1, 0.0))
    objective.evaluate([clumsy])
    assert objective.evaluate([fluent])[0].complete
    objective = make(lm, 1e3, racing=Racing((0.5, 0.5), 1, 0.0))
    objective.evaluate([fluent])
    assert not objective.evaluate([clumsy])[0].complete
    assert objective.ledger.forwards == N + N // 2 + 2 * EXAMPLES


def test_a_dropped_prompt_is_told_what_it_may_be_worth(lm):
    objective = make(lm, 1e3, racing=Racing((0.5, 0.5), 1, 0.0))
    fluent, clumsy = by_fluency(lm)
    rival = objective.evaluate([fluent])[0]
    lost = objective.evaluate([clumsy])[0]
    gap = 1e3 * (read_by_hand(lm, clumsy) - read_by_hand(lm, fluent))
    assert lost.reward - rival.reward == pytest.approx(gap, rel=1e-2)


def test_selection_goes_by_fluency_too(lm):
    log = EvaluationLog()
    objective = make(lm, log=log)
    objective.evaluate(PROMPTS)
    dev = [scorer_of(lm, log, "dev")]
    plan = RacePlan((4,), (4,))
    arguments = (objective.archive, scorer_of(lm, log), dev, calibrated_log_likelihood, plan)
    plain = {f.prompt: f for f in race(*arguments, Ledger())}
    fluent = race(*arguments, Ledger(), objective.fluency)
    for finalist in fluent:
        assert plain[finalist.prompt].fluency is None
        assert finalist.fluency == pytest.approx(read_by_hand(lm, finalist.prompt), abs=1e-4)
        expected = plain[finalist.prompt].reward + WEIGHT * finalist.fluency
        assert finalist.reward == pytest.approx(expected, abs=1e-4)
    assert [f.reward for f in fluent] == sorted((f.reward for f in fluent), reverse=True)


def test_the_empty_prompt_has_nothing_to_be_read(lm):
    objective = make(lm)
    assert objective.evaluate([Prompt()])[0].reward == make(lm, 0.0).evaluate([Prompt()])[0].reward
    assert objective.fluency.of(Prompt()) == 0


def test_an_unread_prompt_is_an_error(lm):
    with pytest.raises(KeyError, match="never read"):
        Fluency(scorer_of(lm)).of(PROMPTS[0])


def test_an_lm_that_cannot_read_is_named(objective):
    with pytest.raises(ConfigError, match="leave fluency out"):
        objective(fluency=0.1).evaluate([Prompt((1, 2))])
