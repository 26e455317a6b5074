"""An explanation against direct scoring, its ledger, its files, and being stopped."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from rlprompt import LMConfig, load_lm, load_task
from rlprompt.core.evaluation import Evaluation, correct, fit_calibration, gold_logprobs
from rlprompt.core.ledger import Ledger
from rlprompt.core.statistics import bootstrap_mean
from rlprompt.explain.derived import similarities
from rlprompt.explain.explain import SCORES, explain
from rlprompt.explain.records import load
from rlprompt.explain.settings import Settings
from rlprompt.objective.evaluation_log import EvaluationLog
from rlprompt.objective.split_scorer import Question, SplitScorer
from rlprompt.tasks.examples import Split
from rlprompt.tasks.template import Template
from rlprompt.tasks.tokenization import prompt_of
from rlprompt.tasks.verbalizer import Verbalizer

TRAIN = DEV = 8
#: As of the fixture ``explained``.
SETTINGS = Settings(budget=2000, orders=3, swaps=2, words=2, cases=2)
EACH = TRAIN + DEV


@pytest.fixture(scope="module")
def directly(finished):
    """Returns a function that scores a text on train and dev without any code under test."""
    config, result = finished
    lm = load_lm(LMConfig(config.lm))
    task = load_task(config.task, 0, 4)

    def score(text, template=None, words=None):
        question = Question(
            Template(**(template or result.template)),
            Verbalizer.of(task.labels, words or result.verbalizer),
            max(config.length, 4),
        )
        prompt = prompt_of(lm.tokenizer, question.template, text)
        # The run has dealt dev into two; resampling depends on the order.
        dealt = Split("dev", (*task.dev.examples[0::2], *task.dev.examples[1::2]))
        scorers = [SplitScorer(lm, question, s, EvaluationLog()) for s in (task.train, dealt)]
        rows = [scorer.logprobs([prompt], Ledger())[0] for scorer in scorers]
        gold = np.concatenate([scorer.gold for scorer in scorers])
        return Evaluation(np.concatenate(rows), gold, fit_calibration(rows[0]))

    return score


def check(variant, found, against):
    """Compares a record with evaluations."""
    likelihoods = gold_logprobs(found.calibrated, found.gold)
    hits = correct(found.calibrated, found.gold)
    assert variant.log_likelihood == pytest.approx(likelihoods.mean(), abs=1e-5)
    assert variant.accuracy == hits.mean()
    assert [*variant.calibration.values()] == pytest.approx(list(found.bias), abs=1e-5)
    than = gold_logprobs(against.calibrated, against.gold)
    expected = asdict(bootstrap_mean(likelihoods - than))
    assert asdict(variant.versus.log_likelihood) == pytest.approx(expected, abs=1e-5)
    than = correct(against.calibrated, against.gold)
    assert asdict(variant.versus.accuracy) == pytest.approx(asdict(bootstrap_mean(hits - than)))


def test_every_prompt_has_the_scores_of_its_text(explained, finished, directly):
    found, _ = explained
    learned = directly(finished[1].prompt.text)
    variants = [*found.base.values(), *found.orders.variants]
    for token in found.tokens:
        variants += [token.left_out, token.alone, token.prefix]
        variants += [swap.variant for swap in token.swaps]
    assert len(variants) == 3 + 3 + 3 * 3 + 3 * 2
    for variant in variants:
        check(variant, directly(variant.text), learned)


def test_the_tokens_are_taken_apart_as_they_should(explained, finished, directly):
    found, _ = explained
    ids = finished[1].prompt.ids
    tokens = finished[1].prompt.tokens
    assert [(each.id, each.token) for each in found.tokens] == [*zip(ids, tokens, strict=True)]
    before = directly("")
    for n, each in enumerate(found.tokens):
        assert each.position == n
        assert each.left_out.tokens == (*tokens[:n], *tokens[n + 1 :])
        assert each.alone.tokens == (tokens[n],)
        assert each.prefix.tokens == tokens[: n + 1]
        here = directly("".join(tokens[: n + 1]))
        gained = gold_logprobs(here.calibrated, here.gold) - gold_logprobs(
            before.calibrated, before.gold
        )
        expected = asdict(bootstrap_mean(gained))
        assert asdict(each.adds.log_likelihood) == pytest.approx(expected, abs=1e-5)
        before = here
    gain = -found.base["empty"].versus.log_likelihood.value
    assert sum(each.share.value for each in found.tokens) == pytest.approx(gain)
    assert found.orders.possible == 6
    assert found.orders.seed == 0
    assert {tuple(sorted(each.tokens)) for each in found.orders.variants} == {tuple(sorted(tokens))}


def test_near_words_are_the_nearest_of_the_vocabulary(explained, finished):
    found, folder = explained
    config, result = finished
    lm = load_lm(LMConfig(config.lm))
    vocabulary = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
    similarity = similarities(
        lm.embeddings(vocabulary["token_ids"]), lm.embeddings(result.prompt.ids)
    )
    for token, row in zip(found.tokens, similarity, strict=True):
        ranked = [vocabulary["texts"][n] for n in np.argsort(-row)]
        assert [swap.by for swap in token.swaps] == [w for w in ranked if w != token.token][:2]
        for swap in token.swaps:
            n = token.position
            assert swap.variant.tokens[n] == swap.by
            assert swap.variant.tokens[:n] == result.prompt.tokens[:n]
            assert swap.similarity == pytest.approx(row[vocabulary["texts"].index(swap.by)])


def test_other_ways_to_ask_have_the_scores_of_being_asked_so(explained, finished, directly):
    found, _ = explained
    result = finished[1]
    manual = result.baselines["manual"].prompt.text
    regular = {text: directly(text) for text in (result.prompt.text, manual)}
    assert len(found.templates) == 6
    assert len(found.label_words) == 4
    for row in (*found.templates, *found.label_words):
        asked = [
            directly(each.text, row.template, row.verbalizer) for each in (row.learned, row.manual)
        ]
        check(row.learned, asked[0], regular[result.prompt.text])
        check(row.manual, asked[1], regular[manual])
        one, other = (gold_logprobs(each.calibrated, each.gold) for each in asked)
        expected = asdict(bootstrap_mean(one - other))
        assert asdict(row.margin.log_likelihood) == pytest.approx(expected, abs=1e-5)
    for row in found.templates:
        assert (row.template, row.verbalizer) != (result.template, result.verbalizer)
    changed = [
        [label for label in result.verbalizer if row.verbalizer[label] != result.verbalizer[label]]
        for row in found.label_words
    ]
    assert changed == [["bad"], ["bad"], ["good"], ["good"]]


def test_test_is_what_the_run_has_recorded(explained, finished):
    found, _ = explained
    result = finished[1]
    recorded = {"learned": result.main.found, **result.baselines}
    assert found.test.paid == 0
    assert [*found.test.prompts] == ["learned", "manual", "empty"]
    for name, each in found.test.prompts.items():
        scores = recorded[name].scores["test"]
        for matrix, there in (
            (each.confusion, scores),
            (each.confusion_uncalibrated, scores.uncalibrated),
        ):
            assert np.sum(matrix) == 30
            assert np.trace(matrix) / 30 == pytest.approx(there.accuracy)
    margin = (
        result.scores["test"].log_likelihood
        - result.baselines["manual"].scores["test"].log_likelihood
    )
    assert found.test.duel.margin.log_likelihood.value == pytest.approx(margin, abs=1e-6)


def forwards_of(path):
    """LM forwards whose scores are in a log."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return sum(np.prod(json.loads(line)["shape"][:2]) for line in lines)


def test_what_the_run_knows_is_free_and_its_log_is_not_touched(explained, finished):
    found, folder = explained
    there = finished[0].out / "evaluations.jsonl"
    assert (folder / "evaluations.jsonl").read_bytes() == there.read_bytes()
    assert [each.paid for each in found.base.values()] == [0, 0, 0]
    # The three on train, dev and test, and the three's calibration.
    assert found.ledger["free"] >= 3 * (EACH + 30)
    assert found.ledger["forwards"] == forwards_of(folder / SCORES) <= SETTINGS.budget
    assert found.ledger["wanted"] == found.ledger["forwards"]
    assert found.left_out == ()


def test_the_file_is_the_explanation_and_is_not_made_twice(explained, monkeypatch):
    found, folder = explained
    assert load(folder) == found
    monkeypatch.setattr("rlprompt.explain.explain.gather", None)
    assert explain(folder, SETTINGS) == found


def same(one, other):
    """Whether explanations agree in all but the time they took and the last digits of scores."""
    one, other = (replace(e, ledger={**e.ledger, "seconds": 0.0}) for e in (one, other))
    return one == other


def test_an_explanation_that_was_stopped_goes_on_and_pays_nothing_twice(explained, run):
    found, _ = explained
    for stop in (2, 5, 9):
        seen = []

        def listen(event, seen=seen, stop=stop):
            seen.append(event)
            if len(seen) == stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            explain(run, SETTINGS, on_event=listen)
        assert not (run / "explanation.json").exists()
    again = explain(run, SETTINGS)
    assert same(again, found)
    assert forwards_of(run / SCORES) == found.ledger["forwards"]


def test_a_small_budget_is_kept_and_what_is_missing_is_said(explained, run):
    whole, _ = explained
    found = explain(run, replace(SETTINGS, budget=100))
    assert found.ledger["forwards"] <= 100
    assert forwards_of(run / SCORES) == found.ledger["forwards"]
    assert found.ledger["wanted"] == whole.ledger["forwards"]
    assert any("near words: the budget is spent" in each for each in found.left_out)
    more = explain(run, SETTINGS)
    assert same(more, whole)
    assert forwards_of(run / SCORES) == whole.ledger["forwards"]


def test_without_the_runs_log_all_is_paid_for(explained, run):
    whole, _ = explained
    (run / "evaluations.jsonl").unlink()
    found = explain(run, SETTINGS)
    assert not (run / "evaluations.jsonl").exists()
    assert found.ledger["free"] == 0
    assert [each.paid for each in found.base.values()] == [EACH] * 3
    assert found.test.paid == 2 * 30
    assert [*found.test.prompts] == ["learned", "manual"]
    assert found.left_out == ("The empty prompt on test: its scores are not in the run's log.",)
    assert found.ledger["forwards"] == forwards_of(run / SCORES)
    assert found.test.duel.margin.log_likelihood.value == pytest.approx(
        whole.test.duel.margin.log_likelihood.value, abs=1e-5
    )


def test_the_default_budget_is_a_hundred_prompts_or_the_runs_own():
    assert Settings().forwards(128, 20_000) == 12_800
    assert Settings().forwards(400, 20_000) == 20_000
    assert Settings().forwards(400, 500) == 1200
    assert Settings(budget=7).forwards(400, 500) == 7
