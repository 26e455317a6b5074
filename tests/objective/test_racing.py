"""Racing: what it charges, what it drops, what it must not change, and that it pays."""

import contextlib
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlprompt.agents.protocol import Problem, make_agent
from rlprompt.core.errors import BudgetExhausted, ConfigError, SearchOver, SearchStalled
from rlprompt.core.evaluation import Evaluation, gold_logprobs, log_softmax
from rlprompt.core.ledger import Budget, Ledger
from rlprompt.core.prompt import Prompt
from rlprompt.objective.evaluation_log import EvaluationLog
from rlprompt.objective.objective import Objective
from rlprompt.objective.racing import Racing, deal, doubling, hopeless
from rlprompt.objective.selection import plan_race, race
from rlprompt.objective.split_scorer import Question, SplitScorer
from rlprompt.rewards.functions import accuracy, calibrated_log_likelihood, log_likelihood
from rlprompt.tasks.vocabulary import ActionVocabulary
from rlprompt.testing import PlantedLM, planted_task

N = 12
SHARES = (0.25, 0.25, 0.5)
HEATS = (3, 3, 6)
LENGTH = 4
NEVER = Racing(SHARES, 3, 1e9)
STRICT = Racing(SHARES, 1, 0.0)
IDS = st.lists(st.integers(1, 6), min_size=1, max_size=LENGTH).map(tuple)
BATCHES = st.lists(st.lists(IDS.map(Prompt), max_size=8), max_size=6)
RACINGS = st.builds(
    Racing, st.sampled_from([(0.5, 0.5), SHARES]), st.integers(1, 4), st.sampled_from([0, 0.5, 2])
)


class Watched(PlantedLM):
    """Remembers which prompts were scored on how many examples, in order, call by call."""

    def __init__(self, *settings, **more):
        super().__init__(*settings, **more)
        self.calls = []

    def bind(self, *args, **more):
        scorer = super().bind(*args, **more)

        def watch(score):
            def watched(prompts):
                self.calls.append((scorer, tuple(prompts)))
                return score(prompts)

            return watched

        scorer.prefix_logprobs = watch(scorer.prefix_logprobs)
        scorer.choice_logprobs = watch(scorer.choice_logprobs)
        return scorer

    def by_heat(self):
        """The prompts that each heat saw, in order, by its number of examples."""
        heats = {}
        for scorer, prompts in self.calls:
            heats.setdefault(id(scorer), (scorer.n_examples, []))[1].extend(prompts)
        return [*heats.values()]


def make(
    racing,
    lm=None,
    *,
    prompts=1000.0,
    log=None,
    reward=calibrated_log_likelihood,
    n_train=N,
    **settings,
):
    lm = lm or Watched(6, LENGTH)
    task = planted_task(n_train)
    scorer = SplitScorer(
        lm,
        Question(task.template, task.verbalizer, LENGTH),
        task.train,
        EvaluationLog() if log is None else log,
    )
    objective = Objective(
        scorer,
        lm.tokenizer,
        reward,
        Budget(int(prompts * n_train)),
        max_prompt_tokens=LENGTH,
        racing=racing,
        **settings,
    )
    return objective, lm, scorer


def ask(objective, batches):
    """Asks until the search is over; returns rewards and what ended it."""
    rewards = []
    try:
        for batch in batches:
            rewards.append([(s.prompt, s.reward, s.complete) for s in objective.evaluate(batch)])
    except SearchOver as over:
        return rewards, str(over)
    return rewards, None


def spent(ledger):
    return (
        ledger.forwards,
        ledger.cache_hits,
        ledger.computed + ledger.replayed,
        ledger.tokens,
    )


def by_quality(lm, length):
    """All prompts of a length, the best first."""
    prompts = [Prompt(ids) for ids in np.ndindex(*(6,) * length)]
    prompts = [Prompt(tuple(i + 1 for i in p.ids)) for p in prompts]
    return [prompts[n] for n in np.argsort(-lm.qualities(prompts)[:, -1], kind="stable")]


# Heats


@given(
    st.lists(st.integers(0, 2), min_size=1, max_size=60),
    st.lists(st.integers(1, 9), min_size=2, max_size=5),
)
def test_heats_are_a_fair_deal(gold, parts):
    shares = [part / sum(parts) for part in parts]
    heats = deal(gold, shares)
    assert sorted(i for heat in heats for i in heat) == [*range(len(gold))]
    assert all(len(heat) and (np.diff(heat) > 0).all() for heat in heats)
    sizes = np.cumsum([0, *map(len, heats)])
    assert all(abs(sizes - share * len(gold)).min() <= 0.5 + 1e-9 for share in np.cumsum(shares))
    for label in set(gold):
        seen = np.cumsum([0, *(sum(gold[i] == label for i in heat) for heat in heats)])
        assert (abs(seen - sizes * gold.count(label) / len(gold)) <= len(set(gold))).all()


@given(st.lists(st.integers(0, 9), min_size=1, max_size=600))
def test_first_heats_stay_small_and_heats_double(gold):
    shares = doubling(gold)
    assert sum(shares) == 1
    assert len(shares) >= 4
    assert all(share == sum(shares[:n]) for n, share in enumerate(shares) if n)
    most = max(10, 2 * len(set(gold)))
    assert shares[0] * len(gold) <= most or len(gold) <= 8 * most
    # No smaller than it has to be.
    assert shares[0] == 0.125 or 2 * shares[0] * len(gold) > most


def test_settings_of_finished_runs_give_the_heats_that_they_had():
    # 16 shots of 2, 4 and 5 labels.
    for n_labels in (2, 4, 5):
        assert doubling([*range(n_labels)] * 16) == (0.125, 0.125, 0.25, 0.5)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"shares": (1.0,)}, "shares"),
        ({"shares": (0.5, 0.6)}, "shares"),
        ({"shares": (1.5, -0.5)}, "shares"),
        ({"rival": 0}, "rival"),
        ({"margin": -0.1}, "margin"),
        ({"margin": math.inf}, "margin"),
        ({"margin": math.nan}, "margin"),
    ],
)
def test_nonsense_is_refused(settings, named):
    with pytest.raises(ConfigError, match=named):
        Racing(**settings)


# The test


def evaluations(seed, n, lead=0.0):
    rng = np.random.default_rng(seed)
    gold = np.arange(n) % 2
    scores = rng.normal(size=(2, n, 2))
    scores[0, np.arange(n), gold] += lead
    return [Evaluation(log_softmax(each), gold) for each in scores]


@given(st.integers(0, 500), st.integers(2, 16), st.floats(0, 3))
def test_of_a_mean_it_is_the_paired_test(seed, n, margin):
    one, rival = evaluations(seed, n)
    d = gold_logprobs(one.logprobs, one.gold) - gold_logprobs(rival.logprobs, rival.gold)
    bound = d.mean() + margin * d.std(ddof=1) / math.sqrt(n)
    if abs(bound) > 1e-9:
        assert hopeless([one], rival, log_likelihood, margin) == [bound < 0]


def test_examples_left_out_in_groups_give_about_the_same_error():
    for seed in range(20):
        one, rival = evaluations(seed, 200, lead=-0.15)
        d = gold_logprobs(one.logprobs, one.gold) - gold_logprobs(rival.logprobs, rival.gold)
        exact = -d.mean() / d.std(ddof=1) * math.sqrt(200)
        if exact > 0:
            assert hopeless([one], rival, log_likelihood, exact / 2) == [True]
            assert hopeless([one], rival, log_likelihood, exact * 2) == [False]


def test_it_goes_by_the_reward_that_is_searched_for():
    gold = np.array([0, 1] * 4)
    steady = Evaluation(np.log(np.full((8, 2), 0.5)), gold)
    # Right about what is what, but wrong about how often: calibration makes it the better one.
    tilted = Evaluation(log_softmax(np.stack([-4.0 + 2 * (gold == 0), 0.0 * gold], axis=1)), gold)
    assert hopeless([tilted], steady, log_likelihood, 0.5) == [True]
    assert hopeless([tilted], steady, calibrated_log_likelihood, 0.5) == [False]
    assert hopeless([steady], tilted, calibrated_log_likelihood, 0.5) == [True]
    assert hopeless([steady, tilted], tilted, accuracy, 0.5) == [True, False]


def test_nobody_is_hopeless_without_evidence():
    one, rival = evaluations(0, 1)
    assert hopeless([one, rival], rival, log_likelihood, 0.0) == [False, False]
    one, rival = evaluations(0, 8, lead=-5)
    assert hopeless([one, rival], rival, log_likelihood, 1.0) == [True, False]
    for value in (math.nan, -math.inf):
        assert hopeless([one], rival, lambda e, v=value: v, 0.0) == [False]


# What it must not change


@settings(max_examples=80, deadline=None)
@given(batches=BATCHES, prompts=st.integers(1, 20), spare=st.integers(0, N - 1), free=st.booleans())
def test_where_nothing_is_dropped_all_is_as_without(batches, prompts, spare, free):
    outcomes = []
    for racing in (None, NEVER):
        lm = PlantedLM(6, LENGTH, prefixes_are_free=free)
        objective, _, _ = make(racing, lm, prompts=prompts + spare / N)
        said = ask(objective, batches)
        archive = objective.archive
        outcomes.append((said, archive.ranked(), archive.trace, spent(objective.ledger)))
    assert outcomes[0] == outcomes[1]


def test_evaluations_are_those_of_all_of_train_in_its_order():
    prompts = [Prompt((1, 2)), Prompt((3, 4, 5))]
    plain, raced = (make(racing)[0].evaluate(prompts) for racing in (None, NEVER))
    for one, other in zip(plain, raced, strict=True):
        np.testing.assert_array_equal(one.evaluation.logprobs, other.evaluation.logprobs)
        np.testing.assert_array_equal(one.evaluation.gold, other.evaluation.gold)
        np.testing.assert_array_equal(one.evaluation.bias, other.evaluation.bias)


# What it charges


def charge(heat, sequence):
    """What prompts cost in a heat, told from their order alone."""
    total = 0
    ran, gone_on = [], []
    for prompt in sequence:
        assert not any(other.ids[: len(prompt)] == prompt.ids for other in ran)
        parent = Prompt(prompt.ids[:-1])
        if parent in ran and parent not in gone_on:
            gone_on.append(parent)
        else:
            total += heat
        ran.append(prompt)
    return total


@settings(max_examples=80, deadline=None)
@given(batches=BATCHES, racing=RACINGS)
def test_the_charge_is_what_went_through_the_heats(batches, racing):
    objective, lm, _ = make(racing)
    ask(objective, batches)
    assert objective.ledger.forwards == sum(charge(*heat) for heat in lm.by_heat())
    assert objective.ledger.computed == sum(n * len(run) for n, run in lm.by_heat())


@settings(max_examples=80, deadline=None)
@given(batches=BATCHES, racing=RACINGS)
def test_without_free_prefixes_each_prompt_pays_for_the_examples_it_saw(batches, racing):
    objective, lm, _ = make(racing, PlantedLM(6, LENGTH, prefixes_are_free=False))
    scored = {s.prompt: s for batch in batches for s in objective.evaluate(batch)}
    seen = {prompt: len(each.evaluation.gold) for prompt, each in scored.items()}
    assert seen == dict(lm.scored_pairs)
    assert objective.ledger.forwards == objective.ledger.computed == sum(seen.values())


def test_prefixes_are_free_and_a_forward_goes_on_once_in_each_heat():
    objective, lm, _ = make(STRICT)
    first = lm.optimum.ids[:2]
    objective.evaluate([Prompt(first)])
    assert objective.ledger.forwards == N
    objective.evaluate([Prompt(first[:1])])
    assert objective.ledger.forwards == N
    worse, better = sorted(
        (Prompt((*first, token)) for token in range(1, 7)),
        key=lambda p: lm.qualities([p])[0, -1],
    )[::5]
    assert better.ids == lm.optimum.ids[:3]
    # It takes the open forward of the first heat, and is dropped there.
    assert not objective.evaluate([worse])[0].complete
    assert objective.ledger.forwards == N
    # So the next pays there, and goes on for free in the heats that the other was not in.
    assert objective.evaluate([better])[0].complete
    assert objective.ledger.forwards == N + HEATS[0]


# What it drops


@pytest.fixture
def dropped():
    """An objective whose bar is the second best prompt, and a prompt that fell behind it."""
    objective, lm, scorer = make(STRICT)
    ranked = by_quality(lm, LENGTH)
    assert ranked[0] == lm.optimum
    rival = objective.evaluate([ranked[1]])[0]
    return objective, ranked, rival, objective.evaluate([ranked[-1]])[0], scorer


def test_a_prompt_that_falls_behind_costs_the_heats_it_was_in(dropped):
    objective, _, rival, lost, _ = dropped
    assert rival.complete
    assert not lost.complete
    assert objective.ledger.forwards == N + HEATS[0]
    assert len(lost.evaluation.gold) == HEATS[0]
    assert lost.prompt not in objective.archive
    assert objective.knows(lost.prompt)


def test_asked_again_it_costs_nothing_and_is_no_news(dropped):
    objective, _, _, lost, _ = dropped
    before = objective.ledger.forwards
    assert objective.evaluate([lost.prompt, lost.prompt]) == [lost, lost]
    assert objective.ledger.forwards == before
    objective, lm, _ = make(STRICT, stall_calls=2)
    lost = by_quality(lm, LENGTH)[-1]
    objective.evaluate([lm.optimum, lost])
    objective.evaluate([lost])
    with pytest.raises(SearchStalled):
        objective.evaluate([lost])


def test_its_reward_is_an_estimate_beside_the_rival(dropped):
    _, _, rival, lost, _ = dropped
    full = {p: make(None)[0].evaluate([p])[0].evaluation for p in (rival.prompt, lost.prompt)}
    seen = deal(full[rival.prompt].gold.tolist(), SHARES)[0]
    theirs, ours = (
        calibrated_log_likelihood(Evaluation(e.logprobs[seen], e.gold[seen])) for e in full.values()
    )
    assert lost.reward == pytest.approx(rival.reward + ours - theirs, abs=1e-12)
    assert lost.reward < rival.reward
    # Nearer to its reward on all of train than what the first heat alone says, or as near.
    real = calibrated_log_likelihood(full[lost.prompt])
    assert abs(lost.reward - real) < 0.5


def test_rewards_of_its_prefixes_end_in_its_own_whatever_comes_after(dropped):
    objective, ranked, _, lost, _ = dropped
    before = objective.ledger.forwards
    rewards = objective.prefix_rewards(lost.prompt)
    assert len(rewards) == LENGTH
    assert rewards[-1] == lost.reward
    assert objective.ledger.forwards == before
    objective.evaluate([ranked[0]])  # raises the bar
    assert objective.prefix_rewards(lost.prompt) == rewards


def test_a_prefix_of_it_can_be_asked_for_and_pays_where_it_was_not():
    objective, lm, _ = make(STRICT, Watched(6, 1))  # more than a token is too long
    better, rival, other, *_ = by_quality(lm, 1)
    worse = Prompt(better.ids + other.ids * 2)
    order = lm.qualities([better, rival, worse])[:, -1]
    assert order[0] > order[1] > order[2]
    objective.evaluate([rival])
    assert not objective.evaluate([worse])[0].complete
    assert objective.ledger.forwards == N + HEATS[0]
    assert not objective.knows(better)
    assert objective.evaluate([better])[0].complete
    assert objective.ledger.forwards == N + HEATS[0] + HEATS[1] + HEATS[2]
    assert objective.archive.best.prompt == better


def test_a_prefix_of_it_that_is_behind_costs_nothing(dropped):
    objective, _, _, lost, _ = dropped
    before = objective.ledger.forwards
    prefix = Prompt(lost.prompt.ids[:-1])
    assert not objective.knows(prefix)
    assert not objective.evaluate([prefix])[0].complete
    assert objective.ledger.forwards == before


def test_a_longer_prompt_that_comes_through_completes_it():
    objective, lm, _ = make(STRICT)
    beginning = Prompt(lm.optimum.ids[:1])
    others = [p for p in by_quality(lm, LENGTH) if p.ids[:1] != beginning.ids]
    objective.evaluate(others[:1])
    assert not objective.evaluate([beginning])[0].complete
    assert objective.evaluate([lm.optimum])[0].complete
    assert objective.ledger.forwards == 2 * N + HEATS[0]
    again = objective.evaluate([beginning])[0]
    assert again.complete
    assert beginning in objective.archive
    assert objective.prefix_rewards(lm.optimum)[0] == again.reward
    assert objective.prefix_rewards(beginning) == [again.reward]


def test_a_prompt_that_came_with_another_of_its_batch_stays_complete():
    # Two are scored to set a bar of rank 2, the third, a prefix, comes with the first.
    objective, lm, _ = make(Racing(SHARES, 2, 0.0))
    ranked = by_quality(lm, LENGTH)
    prefix = Prompt(ranked[0].ids[:1])
    scored = objective.evaluate([ranked[0], ranked[1], prefix])
    assert [each.complete for each in scored] == [True] * 3
    assert objective.ledger.forwards == 2 * N


def test_until_there_is_a_rival_nothing_is_dropped_and_then_at_once():
    objective, lm, _ = make(Racing(SHARES, 3, 0.0), PlantedLM(6, LENGTH, prefixes_are_free=False))
    ranked = by_quality(lm, LENGTH)
    scored = objective.evaluate([*ranked[:3], *ranked[-37:]])
    assert [each.complete for each in scored] == [True] * 3 + [False] * 37
    assert objective.ledger.forwards == 3 * N + 37 * HEATS[0]


@settings(max_examples=60, deadline=None)
@given(batches=BATCHES, racing=RACINGS, free=st.booleans())
def test_the_archive_holds_what_was_scored_on_all_of_train(batches, racing, free):
    objective, _, scorer = make(racing, PlantedLM(6, LENGTH, prefixes_are_free=free))
    plain, _, _ = make(None, PlantedLM(6, LENGTH, prefixes_are_free=free))
    rewards, _ = ask(objective, batches)
    for entry in objective.archive.ranked():
        (whole,) = plain.evaluate([entry.prompt])
        assert entry.reward == whole.reward
        np.testing.assert_array_equal(scorer.known(entry.prompt), whole.evaluation.logprobs)
    for prompt, reward, complete in (each for batch in rewards for each in batch):
        assert objective.knows(prompt)
        assert not complete or prompt in objective.archive
        assert math.isfinite(reward)
        (again,) = objective.evaluate([prompt])
        assert again.complete == (prompt in objective.archive)
        assert again.complete == (len(again.evaluation.gold) == N)
        if free:
            assert objective.prefix_rewards(prompt)[-1] == again.reward


def test_selection_finds_what_it_needs(dropped):
    objective, _, rival, _, scorer = dropped
    task, lm = planted_task(N), Watched(6, LENGTH)
    question = Question(task.template, task.verbalizer, LENGTH)
    dev = [SplitScorer(lm, question, task.dev, EvaluationLog())]
    plan = plan_race(Budget(1000), N, (len(task.dev),))
    ledger = Ledger()
    best, *_ = race(objective.archive, scorer, dev, calibrated_log_likelihood, plan, ledger)
    assert best.prompt == rival.prompt
    assert ledger.forwards == len(objective.archive) * len(task.dev)
    assert best.train.logprobs.shape == (N, 2)


def test_the_lm_is_bound_to_the_heats_alone():
    objective, lm, _ = make(STRICT)
    objective.evaluate([Prompt((1, 2))])
    assert [n for n, _ in lm.by_heat()] == [*HEATS]
    assert sum(lm.scored_pairs.values()) == N


# The budget


@settings(max_examples=80, deadline=None)
@given(
    batches=BATCHES,
    racing=RACINGS,
    prompts=st.integers(1, 9),
    spare=st.integers(0, N - 1),
    free=st.booleans(),
)
def test_no_prompt_is_begun_that_cannot_be_finished(batches, racing, prompts, spare, free):
    lm = PlantedLM(6, LENGTH, prefixes_are_free=free)
    objective, _, _ = make(racing, lm, prompts=prompts + spare / N)
    _, ended = ask(objective, batches)
    assert objective.ledger.forwards <= objective.budget.forwards
    if ended:
        assert objective.remaining < N
    assert bool(len(objective.archive)) == any(batches)
    # A budget that covers all prompts in full is as good as any. A smaller one may do too, but
    # takes a batch in several goes, with another rival in each.
    rich, _, _ = make(racing, PlantedLM(6, LENGTH, prefixes_are_free=free))
    ask(rich, batches)
    if prompts >= len({prompt for batch in batches for prompt in batch}):
        assert not ended
        assert rich.ledger.forwards == objective.ledger.forwards
        assert rich.archive.ranked() == objective.archive.ranked()


def test_what_is_saved_at_the_end_is_spent_on_the_next_of_the_batch():
    lm = PlantedLM(6, LENGTH, prefixes_are_free=False)
    objective, _, _ = make(STRICT, lm, prompts=3)
    ranked = by_quality(lm, LENGTH)
    with pytest.raises(BudgetExhausted, match=f"{N} LM forwards do not fit"):
        objective.evaluate([ranked[0], *ranked[-30:]])
    # The best takes 12 of 36, each of the others 3; none is begun with less than 12 left.
    assert objective.ledger.forwards == N + 5 * HEATS[0]
    assert [objective.knows(p) for p in ranked[-30:]] == [True] * 5 + [False] * 25


def test_free_steps_are_taken_with_an_empty_purse():
    objective, lm, _ = make(NEVER, prompts=1)
    ids = lm.optimum.ids
    for n in range(1, LENGTH + 1):
        assert objective.evaluate([Prompt(ids[:n])])[0].complete
    assert objective.remaining == 0


@pytest.mark.parametrize("racing", [None, NEVER])
def test_of_two_that_go_on_with_one_forward_the_second_waits_for_its_own(racing):
    objective, _, _ = make(racing, prompts=1.5)
    objective.evaluate([Prompt((1,))])
    with pytest.raises(BudgetExhausted):
        objective.evaluate([Prompt((1, 2)), Prompt((1, 3))])
    assert objective.ledger.forwards == objective.ledger.computed // 2 == N
    assert objective.knows(Prompt((1, 2)))
    assert not objective.knows(Prompt((1, 3)))


def test_next_tokens_are_charged_beside_the_heats():
    lm = PlantedLM(6, LENGTH, predicts_tokens=True)
    objective, _, _ = make(STRICT, lm, prompts=2)
    objective.next_token_logprobs([0, 11], [Prompt(), Prompt((1,))], (1, 2, 3))
    assert objective.ledger.forwards == 2
    objective.evaluate([lm.optimum])
    assert objective.ledger.forwards == 2 + N
    with pytest.raises(BudgetExhausted):
        objective.evaluate([Prompt((1,))])
    objective.next_token_logprobs([0], [Prompt((2,))], (1, 2, 3))
    assert objective.ledger.forwards == 2 + N  # goes on


# Repeatable


@settings(max_examples=25, deadline=None)
@given(batches=BATCHES, cut=st.integers(0, 6), racing=RACINGS, free=st.booleans())
def test_a_killed_run_ends_as_an_uninterrupted_one(tmp_path_factory, batches, cut, racing, free):
    folder = tmp_path_factory.mktemp("run")

    def run(name, batches):
        lm = PlantedLM(6, LENGTH, prefixes_are_free=free)
        with EvaluationLog(folder / name) as log:
            objective, _, _ = make(racing, lm, prompts=7, log=log)
            said = ask(objective, batches)
        archive = objective.archive
        return (said, archive.ranked(), archive.trace, spent(objective.ledger)), objective, lm

    whole, *_ = run("whole", batches)
    run("killed", batches[:cut])
    resumed, *_ = run("killed", batches)
    assert resumed == whole
    again, objective, lm = run("killed", batches)
    assert again == whole
    assert objective.ledger.computed == 0
    assert not lm.scored_pairs


@settings(max_examples=40, deadline=None)
@given(prompts=st.lists(IDS.map(Prompt), max_size=12), cuts=st.sets(st.integers(0, 12)))
def test_with_the_same_bar_batches_do_not_matter(prompts, cuts):
    outcomes = []
    edges = [0, *sorted(cuts), len(prompts)]
    batches = [prompts[a:b] for a, b in pairwise(edges) if a < b]
    for split in ([prompts], batches):
        objective, lm, _ = make(STRICT)
        objective.evaluate([lm.optimum])  # nothing beats it
        ask(objective, split)
        known = sorted((p, objective.evaluate([p])[0].reward) for p in {*prompts})
        outcomes.append((known, objective.ledger.forwards, objective.archive.ranked()))
    assert outcomes[0] == outcomes[1]


# It pays


@pytest.mark.parametrize("name", ["random", "genetic"])
def test_the_planted_prompt_is_found_with_fewer_forwards(name):
    def forwards(racing, seed):
        """LM forwards until the planted prompt was scored in full; all of them if never."""
        lm = PlantedLM(6, 3, noise=2.0, seed=seed)
        objective, _, _ = make(racing, lm, prompts=200, n_train=64)
        ids = tuple(range(1, 7))
        vocabulary = ActionVocabulary(ids, tuple(lm.tokenizer.decode((i,)) for i in ids))

        def stop(_):
            if lm.optimum in objective.archive:
                raise SearchOver

        with contextlib.suppress(SearchOver):
            problem = Problem(objective, vocabulary, 3, lm)
            make_agent(name, {"batch_size": 8}).optimize(problem, seed=seed, on_event=stop)
        found = [e.found_at for e in objective.archive.trace if e.prompt == lm.optimum]
        return found[0] if found else objective.budget.forwards

    plain, raced = (sum(forwards(r, seed) for seed in range(5)) for r in (None, Racing()))
    assert raced < 0.75 * plain
