"""The planted LM: its optimum is the one best prompt, and it checks what it is given."""

import itertools
from collections import Counter

import numpy as np
import pytest

from rlprompt.core.errors import ConfigError, TemplateError
from rlprompt.core.evaluation import Evaluation, gold_logprobs
from rlprompt.core.prompt import Prompt
from rlprompt.lm.protocol import NextToken
from rlprompt.tasks.examples import Example
from rlprompt.tasks.template import Template
from rlprompt.tasks.tokenization import canonical
from rlprompt.tasks.verbalizer import Verbalizer
from rlprompt.testing import (
    COMMON_WORDS,
    PlantedLM,
    WordTokenizer,
    check_embeddings,
    check_scorer,
    made_up_words,
    planted_task,
)

TASK = planted_task()
THREE_LABELS = Verbalizer((("bad",), ("fine",), ("good",)))


def _rewards(lm, verbalizer, examples, prompts, limit):
    scorer = lm.bind(TASK.template, verbalizer, examples, max_prompt_tokens=limit)
    gold = np.array([example.label for example in examples])
    return np.array(
        [
            gold_logprobs(Evaluation(scores, gold).calibrated, gold).mean()
            for scores in scorer.choice_logprobs(prompts)
        ]
    )


def _accuracy(scorer, split, prompt):
    return (scorer.choice_logprobs([prompt])[0].argmax(axis=-1) == np.array(split.gold)).mean()


def _unbalanced(n_labels, n=12):
    return [
        Example({"text": f"the film was {word}"}, 0 if i % 4 else i // 4 % n_labels)
        for i, word in enumerate(COMMON_WORDS[:n])
    ]


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("smoothness", [0.0, 0.4, 0.9])
@pytest.mark.parametrize(
    ("verbalizer", "examples"),
    [(TASK.verbalizer, list(TASK.train)), (THREE_LABELS, _unbalanced(3))],
    ids=["balanced", "unbalanced-3"],
)
def test_optimum_is_the_unique_best_prompt(seed, smoothness, verbalizer, examples):
    lm = PlantedLM(8, 3, seed=seed, smoothness=smoothness)
    prompts = [Prompt(ids) for n in range(5) for ids in itertools.product(range(1, 9), repeat=n)]
    rewards = _rewards(lm, verbalizer, examples, prompts, 4)
    second, best = np.argsort(rewards)[-2:]
    assert prompts[best] == lm.optimum
    assert rewards[best] - rewards[second] > 1e-3


def test_accuracy_varies_and_the_optimum_is_best_on_every_split():
    lm = PlantedLM(8, 3)
    prompts = [Prompt(ids) for ids in itertools.product(range(1, 9), repeat=3)]
    for split in (TASK.train, TASK.dev, TASK.test):
        scorer = lm.bind(TASK.template, TASK.verbalizer, list(split), max_prompt_tokens=3)
        right = scorer.choice_logprobs(prompts).argmax(axis=-1) == np.array(split.gold)
        accuracy = right.mean(axis=1)
        assert len(set(accuracy)) > 4
        assert accuracy.max() == accuracy[prompts.index(lm.optimum)]
        assert 0.2 < _accuracy(scorer, split, Prompt()) < 0.8


def test_similar_embeddings_score_better():
    lm = PlantedLM(64, 1, smoothness=0.5)
    ids = [i for i in range(1, 65) if Prompt((i,)) != lm.optimum]
    rows = lm.embeddings(ids)
    target = lm.embeddings(lm.optimum.ids)[0]
    cosine = rows @ target / np.linalg.norm(rows, axis=1) / np.linalg.norm(target)
    quality = lm.qualities([Prompt((i,)) for i in ids])[:, -1]
    np.testing.assert_allclose(quality, 0.5 * cosine, atol=1e-12)


@pytest.mark.parametrize("free", [True, False])
def test_planted_lm_conforms(free):
    lm = PlantedLM(16, 4, prefixes_are_free=free)
    prompts = [Prompt((1,)), Prompt((2, 3, 4)), lm.optimum, Prompt((5, 6)), Prompt((1, 2, 3, 4, 5))]
    check_scorer(lm, TASK.template, TASK.verbalizer, list(TASK.train), prompts, tolerance=1e-12)
    check_embeddings(lm, [3, 1, 2])


def test_same_settings_same_lm():
    one, same, other = PlantedLM(seed=3), PlantedLM(seed=3), PlantedLM(seed=4)
    assert one.optimum == same.optimum
    assert one.identity == same.identity
    assert one.identity.fingerprint != other.identity.fingerprint


def test_counts_what_it_scored():
    lm = PlantedLM()
    scorer = lm.bind(TASK.template, TASK.verbalizer, list(TASK.train), max_prompt_tokens=3)
    scorer.choice_logprobs([Prompt((1,)), Prompt((1,)), Prompt()])
    scorer.prefix_logprobs([Prompt((1, 2, 3))])
    assert scorer.calls == 2
    assert scorer.pairs == 4 * 16
    assert lm.scored_pairs == Counter({Prompt((1,)): 32, Prompt(): 16, Prompt((1, 2, 3)): 16})


def test_empty_prompt_has_no_prefixes():
    scorer = PlantedLM().bind(TASK.template, TASK.verbalizer, list(TASK.train), max_prompt_tokens=3)
    assert scorer.prefix_logprobs([Prompt()])[0].shape == (0, 16, 2)


@pytest.mark.parametrize(
    ("prompts", "error", "message"),
    [
        ([], ValueError, "non-empty"),
        ([(1, 2)], TypeError, "no Prompt"),
        ([Prompt((np.int64(1),))], TypeError, "no Prompt"),
        ([Prompt((1, 2, 3, 4))], ValueError, "longer than 3"),
        ([Prompt((-1,))], ValueError, "outside"),
        ([Prompt((10_000,))], ValueError, "outside"),
        ([Prompt((0,))], ValueError, "special"),
    ],
)
def test_scorer_refuses(prompts, error, message):
    lm = PlantedLM()
    scorer = lm.bind(TASK.template, TASK.verbalizer, list(TASK.train), max_prompt_tokens=3)
    for method in (scorer.choice_logprobs, scorer.prefix_logprobs):
        with pytest.raises(error, match=message):
            method(prompts)
    assert not lm.scored_pairs
    assert scorer.calls == 0


def test_prefixes_that_are_not_free_are_refused():
    lm = PlantedLM(prefixes_are_free=False)
    scorer = lm.bind(TASK.template, TASK.verbalizer, list(TASK.train), max_prompt_tokens=3)
    with pytest.raises(ValueError, match="prefixes_are_free"):
        scorer.prefix_logprobs([Prompt((1,))])


def _predictor(**settings):
    lm = PlantedLM(16, 3, predicts_tokens=True, **settings)
    return lm, lm.bind(TASK.template, TASK.verbalizer, list(TASK.train), max_prompt_tokens=3)


def test_predicts_tokens_only_if_told_to():
    silent = PlantedLM().bind(TASK.template, TASK.verbalizer, list(TASK.train), max_prompt_tokens=3)
    assert not isinstance(silent, NextToken)
    lm, scorer = _predictor()
    assert isinstance(scorer, NextToken)
    prompts = [Prompt(), Prompt((1, 2)), lm.optimum]
    plain = PlantedLM(16, 3)
    assert lm.optimum == plain.optimum
    assert lm.identity == plain.identity
    other = plain.bind(TASK.template, TASK.verbalizer, list(TASK.train), max_prompt_tokens=3)
    assert np.array_equal(scorer.choice_logprobs(prompts), other.choice_logprobs(prompts))


@pytest.mark.parametrize("free", [True, False])
def test_planted_lm_that_predicts_conforms(free):
    lm = PlantedLM(16, 4, predicts_tokens=True, prefixes_are_free=free)
    prompts = [Prompt((1,)), Prompt((2, 3, 4)), lm.optimum, Prompt((5, 6))]
    check_scorer(lm, TASK.template, TASK.verbalizer, list(TASK.train), prompts, tolerance=1e-12)


def test_next_token_depends_on_the_last_token_alone():
    lm, scorer = _predictor()
    ids = [3, 1, 9]
    prompts = [Prompt(), Prompt((5,)), Prompt((7, 5)), Prompt((5, 7))]
    found = scorer.next_token_logprobs([0, 1, 2, 0], prompts, ids)
    assert found.shape == (4, 3)
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1)
    np.testing.assert_array_equal(found[1], found[2])
    assert len({tuple(row) for row in found}) == 3
    rows = lm.embeddings(ids) @ lm.embeddings([5])[0] / np.sqrt(8)
    np.testing.assert_allclose(found[1], rows - np.log(np.exp(rows).sum()))
    again = _predictor()[1].next_token_logprobs([4], prompts[:1], ids)
    np.testing.assert_array_equal(found[:1], again)
    swapped = scorer.next_token_logprobs([0], prompts[:1], ids[::-1])
    np.testing.assert_allclose(swapped[0], found[0, ::-1])


def test_next_tokens_do_not_give_the_optimum_away():
    chances = []
    for seed in range(20):
        lm, scorer = _predictor(seed=seed)
        prompts = [Prompt(lm.optimum.ids[:n]) for n in range(3)]
        found = scorer.next_token_logprobs([0, 0, 0], prompts, range(1, 17))
        chances.append(found[range(3), np.array(lm.optimum.ids) - 1].sum())
    assert abs(np.mean(chances) - 3 * np.log(1 / 16)) < 2


def test_counts_what_it_predicted():
    lm, scorer = _predictor()
    scorer.next_token_logprobs([1, 4], [Prompt(), Prompt((1, 2))], [1, 2])
    texts = [TASK.template.render(TASK.train.examples[n].fields, "") for n in (1, 4)]
    assert lm.meter.tokens == sum(len(text.split()) for text in texts) + 2
    assert lm.meter.seconds > 0
    assert (scorer.calls, scorer.pairs) == (1, 0)
    assert not lm.scored_pairs


@pytest.mark.parametrize(
    ("rows", "prompts", "ids", "error", "message"),
    [
        ([], [], [1], ValueError, "non-empty"),
        ([0], [(1,)], [1], TypeError, "no Prompt"),
        ([0], [Prompt((0,))], [1], ValueError, "special"),
        ([0], [Prompt((1, 2, 3))], [1], ValueError, "no next one"),
        ([0], [Prompt((1, 2, 3, 4))], [1], ValueError, "longer than 3"),
        ([0, 1], [Prompt()], [1], ValueError, "behind 2 examples"),
        ([16], [Prompt()], [1], ValueError, "from 0 to 15"),
        ([-1], [Prompt()], [1], ValueError, "from 0 to 15"),
        ([np.int64(0)], [Prompt()], [1], TypeError, "must be ints"),
        ([0], [Prompt()], [np.int64(1)], TypeError, "must be ints"),
        ([0], [Prompt()], [], ValueError, "at least one"),
        ([0], [Prompt()], [1, 1], ValueError, "distinct"),
        ([0], [Prompt()], [0], ValueError, "special"),
        ([0], [Prompt()], [10_000], ValueError, "outside"),
    ],
)
def test_predictor_refuses(rows, prompts, ids, error, message):
    lm, scorer = _predictor()
    with pytest.raises(error, match=message):
        scorer.next_token_logprobs(rows, prompts, ids)
    assert lm.meter.tokens == 0
    assert scorer.calls == 0


def test_bind_refuses():
    lm, train = PlantedLM(), list(TASK.train)
    with pytest.raises(ValueError, match="an example or more"):
        lm.bind(TASK.template, TASK.verbalizer, [], max_prompt_tokens=1)
    with pytest.raises(ValueError, match="2 labels"):
        lm.bind(TASK.template, TASK.verbalizer, [Example({"text": "x"}, 2)], max_prompt_tokens=1)
    with pytest.raises(TemplateError, match="review"):
        lm.bind(Template("{review}{prompt}"), TASK.verbalizer, train, max_prompt_tokens=1)
    with pytest.raises(TemplateError, match="mask"):
        lm.bind(Template("{text}{prompt}{mask}"), TASK.verbalizer, train, max_prompt_tokens=1)
    for words in ((("bad",), ("goood",)), (("bad",), ("very good",))):
        with pytest.raises(TemplateError, match="word"):
            lm.bind(TASK.template, Verbalizer(words), train, max_prompt_tokens=1)
    with pytest.raises(TypeError, match="template"):
        lm.bind("{text}{prompt}", TASK.verbalizer, train, max_prompt_tokens=1)
    with pytest.raises(IndexError, match="from 0 to"):
        lm.embeddings([-1])


@pytest.mark.parametrize(
    "settings",
    [
        {"vocab_size": 1},
        {"length": 0},
        {"width": 1},
        {"smoothness": 1.0},
        {"gain": 0},
        {"noise": -1},
    ],
)
def test_planted_lm_refuses_settings(settings):
    with pytest.raises(ConfigError, match="needs"):
        PlantedLM(**settings)


def test_word_tokenizer_round_trips():
    tokenizer = PlantedLM().tokenizer
    for ids in [(), (1,), (3, 1, 2, 70)]:
        assert tokenizer.encode(tokenizer.decode(ids)) == ids
        assert canonical(tokenizer, Template("{text}{prompt}"), Prompt(ids)) == Prompt(ids)
    assert tokenizer.encode("the film" + tokenizer.decode((5,))) == (
        *tokenizer.encode("the film"),
        5,
    )
    assert tokenizer.encode_all(["a film", ""]) == [tokenizer.encode("a film"), ()]
    assert set(map(len, map(tokenizer.encode, made_up_words(64)))) == {1}


def test_word_tokenizer_refuses():
    with pytest.raises(ConfigError, match="Did you mean 'film'"):
        WordTokenizer(["film"]).encode(["a", "flim"][1])
    with pytest.raises(ConfigError, match="twice"):
        WordTokenizer(["film", "film"])
    with pytest.raises(ConfigError, match="single word"):
        WordTokenizer(["two words"])
    with pytest.raises(IndexError, match="from 0 to 1"):
        WordTokenizer(["film"]).decode((2,))


def test_made_up_words():
    words = made_up_words(4800)
    assert len(set(words)) == 4800
    assert set(words).isdisjoint(COMMON_WORDS)
    assert all(word.isalpha() for word in words)
    with pytest.raises(ValueError, match="4800"):
        made_up_words(4801)


def test_common_words_are_distinct():
    assert len(set(COMMON_WORDS)) == len(COMMON_WORDS)


def test_planted_task_splits_are_disjoint_and_balanced():
    task = planted_task(200, 200, 368, seed=5)
    texts = [e.normalised for split in (task.train, task.dev, task.test) for e in split]
    assert len(set(texts)) == 768
    assert sum(task.train.gold) == 100
    assert planted_task(seed=5).train.hash == planted_task(seed=5).train.hash
    assert planted_task(seed=5).train.hash != planted_task(seed=6).train.hash
    tokenizer = PlantedLM().tokenizer
    assert all(tokenizer.encode(e.fields["text"]) for e in task.train)
    with pytest.raises(ConfigError, match="768"):
        planted_task(400, 400)
    with pytest.raises(ConfigError, match="1 or more"):
        planted_task(0)
