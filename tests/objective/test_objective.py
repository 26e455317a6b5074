import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlprompt.core.errors import BudgetExhausted, ConfigError, SearchOver, SearchStalled
from rlprompt.core.evaluation import Evaluation
from rlprompt.core.ledger import Ledger
from rlprompt.core.prompt import Prompt
from rlprompt.lm.causal import CausalLM
from rlprompt.objective.evaluation_log import EvaluationLog
from rlprompt.objective.split_scorer import Question, SplitScorer
from rlprompt.rewards.functions import accuracy, calibrated_log_likelihood
from rlprompt.testing import PlantedLM, planted_task, tiny_causal

N = 6  # examples, as in conftest
IDS = st.lists(st.integers(1, 8), max_size=4).map(tuple)
BATCHES = st.lists(st.lists(IDS.map(Prompt), max_size=6), max_size=8)


def _prompts(*ids):
    return [Prompt(each) for each in ids]


def test_rewards_are_those_of_the_evaluations(objective):
    given = objective(reward=accuracy)
    prompts = _prompts((1, 2), (), (3,))
    scored = given.evaluate(prompts)
    assert [each.prompt for each in scored] == prompts
    for each in scored:
        assert each.reward == accuracy(each.evaluation)
        assert each.evaluation.logprobs.shape == (N, 2)
    assert given.archive.best.reward == max(each.reward for each in scored)


def test_the_planted_prompt_is_the_best(objective):
    lm = PlantedLM(8, 4)
    given = objective(lm)
    given.evaluate([*_prompts((1, 2), (3, 4, 5, 6), ()), lm.optimum])
    assert given.archive.best.prompt == lm.optimum


@settings(max_examples=60, deadline=None)
@given(batches=BATCHES, prompts=st.integers(1, 9), spare=st.integers(0, N - 1), free=st.booleans())
def test_the_budget_is_never_exceeded(objective, batches, prompts, spare, free):
    lm = PlantedLM(8, 4, prefixes_are_free=free)
    given = objective(lm, prompts=prompts + spare / N)
    for batch in batches:
        try:
            scored = given.evaluate(batch)
        except BudgetExhausted:
            assert given.remaining < N
        else:
            assert [each.prompt for each in scored] == batch
        assert given.ledger.forwards <= given.budget.forwards
        assert given.ledger.forwards % N == 0
        assert given.ledger.computed == sum(lm.scored_pairs.values())
    # Where nothing is free, what the LM did is what was charged.
    if not free:
        assert given.ledger.computed == given.ledger.forwards
        assert len(given.archive) == given.ledger.forwards // N
    assert set(lm.scored_pairs.values()) <= {N}


def test_equal_prompts_are_charged_once(objective):
    given = objective()
    first = given.evaluate(_prompts((1, 2), (1, 2), (3,)))
    assert first[0] is first[1]
    assert given.ledger.forwards == 2 * N
    assert given.ledger.cache_hits == N
    assert given.evaluate(_prompts((3,)))[0] is first[2]
    assert given.ledger.forwards == 2 * N
    assert given.ledger.cache_hits == 2 * N
    assert len(given.archive) == 3  # with the prefix (1,)


def test_those_that_can_be_paid_are_scored_in_order(objective):
    lm = PlantedLM(8, 4, prefixes_are_free=False)
    given = objective(lm, prompts=3.5)
    given.evaluate(_prompts((1,)))
    prompts = _prompts((2, 2), (1,), (3, 3), (4, 4), (5, 5))
    with pytest.raises(
        BudgetExhausted, match=f"{N} LM forwards do not fit: {3 * N} of {3 * N + 3}"
    ):
        given.evaluate(prompts)
    assert [e.prompt for e in given.archive.top(9)] == sorted(
        _prompts((1,), (2, 2), (3, 3)), key=lambda p: -given.evaluate([p])[0].reward
    )
    assert given.remaining == 3
    with pytest.raises(SearchOver):
        given.evaluate(_prompts((6,)))
    assert [each.prompt for each in given.evaluate(prompts[:3])] == prompts[:3]
    entry = next(e for e in given.archive.top(9) if e.prompt == prompts[2])
    assert entry.found_at == 3 * N


def test_an_episode_costs_the_same_by_steps_as_at_once(objective):
    ids = (3, 1, 4, 1)
    at_once, by_steps = objective(), objective()
    at_once.evaluate([Prompt(ids)])
    for prompt in Prompt(ids).prefixes():
        by_steps.evaluate([prompt])
    assert at_once.ledger.forwards == by_steps.ledger.forwards == N
    assert {(e.prompt, e.reward) for e in at_once.archive.top(9)} == {
        (e.prompt, e.reward) for e in by_steps.archive.top(9)
    }
    rewards = at_once.prefix_rewards(Prompt(ids))
    assert rewards == [s.reward for s in by_steps.evaluate(Prompt(ids).prefixes())]
    assert by_steps.prefix_rewards(Prompt(ids)) == rewards
    assert at_once.evaluate(Prompt(ids).prefixes())
    assert at_once.ledger.forwards == N


def test_lock_step_episodes_cost_one_prompt_each(objective):
    given = objective()
    episodes = [(1, 2, 3), (1, 2, 4), (5, 6, 7)]
    for step in (1, 2, 3):
        given.evaluate([Prompt(ids[:step]) for ids in episodes])
    assert given.ledger.forwards == 3 * N


def test_only_the_first_continuation_goes_on_with_a_paid_forward(objective):
    given = objective()
    given.evaluate(_prompts((1, 2)))
    given.evaluate(_prompts((1, 2, 3)))
    assert given.ledger.forwards == N
    given.evaluate(_prompts((1, 2, 4)))
    assert given.ledger.forwards == 2 * N
    given.evaluate(_prompts((1, 5)))  # (1,) went on as (1, 2)
    assert given.ledger.forwards == 3 * N
    given.evaluate(_prompts((1, 5, 6, 7)))  # two tokens at once are a forward of their own
    assert given.ledger.forwards == 4 * N


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]])
def test_prefixes_in_the_same_batch_are_free_in_any_order(objective, order):
    given = objective()
    prompts = _prompts((1,), (1, 2), (1, 2, 3))
    scored = given.evaluate([prompts[n] for n in order])
    assert [each.prompt for each in scored] == [prompts[n] for n in order]
    assert given.ledger.forwards == N
    assert len(given.archive) == 3


def test_nothing_is_free_where_the_lm_says_so(objective):
    given = objective(PlantedLM(8, 4, prefixes_are_free=False))
    given.evaluate(_prompts((1, 2)))
    given.evaluate(_prompts((1,), (1, 2, 3)))
    assert given.ledger.forwards == 3 * N
    with pytest.raises(ConfigError, match="Prefix scores are not free here"):
        given.prefix_rewards(Prompt((1, 2)))


def test_prefix_rewards_of_what_was_never_scored(objective):
    with pytest.raises(KeyError, match="was not scored in this run"):
        objective().prefix_rewards(Prompt((1,)))


@settings(max_examples=25, deadline=None)
@given(batches=BATCHES, cut=st.integers(0, 8), free=st.booleans())
def test_a_killed_run_ends_as_an_uninterrupted_one(objective, tmp_path_factory, batches, cut, free):
    folder = tmp_path_factory.mktemp("run")

    def run(name, batches):
        lm = PlantedLM(8, 4, prefixes_are_free=free)
        rewards = []
        with EvaluationLog(folder / name) as log:
            given = objective(lm, prompts=7, log=log)
            with contextlib.suppress(BudgetExhausted):
                for batch in batches:
                    rewards.append([each.reward for each in given.evaluate(batch)])
        return given, rewards

    whole, rewards = run("whole", batches)
    run("killed", batches[:cut])
    for _ in range(2):
        resumed, same = run("killed", batches)
        assert same == rewards
        assert resumed.archive.top(99) == whole.archive.top(99)
        assert resumed.archive.trace == whole.archive.trace
        assert resumed.ledger.computed == whole.ledger.computed - resumed.ledger.replayed
        for name in ("forwards", "cache_hits", "tokens"):
            assert getattr(resumed.ledger, name) == getattr(whole.ledger, name)
    assert resumed.ledger.computed == 0


def test_prompts_that_were_logged_without_prefixes_have_them_when_asked(objective):
    lm, log, task = PlantedLM(8, 4), EvaluationLog(), planted_task(N, 2, 2)
    question = Question(task.template, task.verbalizer, 4)
    prompt = Prompt((1, 2, 3))
    SplitScorer(lm, question, task.train, log).logprobs([prompt], Ledger())
    given = objective(lm, log=log)
    given.evaluate([prompt])
    assert len(given.prefix_rewards(prompt)) == 3
    assert len(given.archive) == 3


@pytest.fixture(scope="module")
def byte_lm():
    return CausalLM(*tiny_causal("gpt2"))


def test_prompts_are_scored_in_their_canonical_form(objective, byte_lm):
    goo, d, good = byte_lm.tokenizer.hf.convert_tokens_to_ids(["Ġgoo", "d", "Ġgood"])
    given = objective(byte_lm)
    split, whole = given.evaluate([Prompt((goo, d)), Prompt((good,))])
    assert split is whole
    assert whole.prompt == Prompt((good,))
    assert given.text(Prompt((goo, d))) == " good"
    assert given.ledger.forwards == N
    assert given.canonical(Prompt((goo, d))) == Prompt((good,))
    assert Prompt((goo, d)) not in given.archive


def test_only_prefixes_that_their_own_text_gives_are_archived(objective, byte_lm):
    # " ☃" is four tokens, of which the first ones alone are no text.
    prompt = Prompt(byte_lm.tokenizer.encode(" good ☃"))
    given = objective(byte_lm, max_prompt_tokens=8)
    given.evaluate([prompt])
    assert len(prompt) == 5
    texts = {given.text(entry.prompt) for entry in given.archive.top(9)}
    assert texts == {" good", " good ", " good ☃"}
    for entry in given.archive.top(9):
        assert given.canonical(entry.prompt) == entry.prompt
    assert len(given.prefix_rewards(prompt)) == 5


def test_rewards_of_a_packed_lm_are_reproduced_from_the_log(objective, byte_lm, tmp_path):
    prompts = [Prompt(byte_lm.tokenizer.encode(t)) for t in (" it was", " overall", "", " a b")]
    outcomes = []
    for _ in range(2):
        with EvaluationLog(tmp_path / "log.jsonl") as log:
            given = objective(byte_lm, log=log)
            rewards = [each.reward for each in given.evaluate(prompts)]
            outcomes.append((rewards, given.archive.top(9), given.ledger.tokens))
    assert outcomes[0] == outcomes[1]
    assert given.ledger.computed == 0


def test_a_search_without_news_is_called_off(objective):
    given = objective(stall_calls=3)
    given.evaluate(_prompts((1,)))
    for _ in range(2):
        given.evaluate(_prompts((1,)))
    given.evaluate(_prompts((2,)))
    for _ in range(2):
        given.evaluate(_prompts((1,), (2,)))
    with pytest.raises(SearchStalled, match="last 3 batches brought no prompt"):
        given.evaluate(_prompts((1,)))
    endless = objective(stall_calls=None)
    for _ in range(600):
        endless.evaluate(_prompts((1,)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_rewards_that_are_no_number_are_refused(objective, value):
    given = objective(reward=lambda _: value)
    with pytest.raises(ConfigError, match=r"The reward of ' \w+' is -?(nan|inf): .* be finite"):
        given.evaluate(_prompts((1, 2)))


def test_prompts_that_are_too_long_are_refused(objective):
    given = objective()
    with pytest.raises(ConfigError, match="has 5 tokens, more than the 4 there is room for"):
        given.evaluate(_prompts((1,), (1, 2, 3, 4, 5)))
    assert given.ledger.forwards == 0
    assert len(given.archive) == 0


def test_a_budget_below_one_prompt_is_refused(objective):
    with pytest.raises(ConfigError, match=f"of 5 LM forwards does not cover one prompt on {N}"):
        objective(prompts=5 / 6)
    assert objective(prompts=1).evaluate(_prompts((1,)))


def test_fresh_scores_are_rounded_as_logged_ones_are(objective):
    given = objective()
    logprobs = given.evaluate(_prompts((1, 2)))[0].evaluation.logprobs
    np.testing.assert_array_equal(logprobs, logprobs.astype(np.float32))


def test_the_reward_sees_calibration_fitted_on_these_examples(objective):
    seen = []

    def watch(evaluation):
        seen.append(evaluation)
        return calibrated_log_likelihood(evaluation)

    objective(reward=watch).evaluate(_prompts((1,)))
    (evaluation,) = seen
    np.testing.assert_array_equal(
        evaluation.bias, Evaluation(evaluation.logprobs, evaluation.gold).bias
    )
