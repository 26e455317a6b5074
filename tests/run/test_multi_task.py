"""Texts of many tasks in one batch are labelled as one task at a time labels them."""

import functools

import numpy as np
import pytest
import torch

from rlprompt.core.errors import ConfigError, TemplateError
from rlprompt.lm.causal import CausalLM
from rlprompt.lm.gradients import looked_up
from rlprompt.lm.masked import MaskedLM
from rlprompt.lm.seq2seq import Seq2SeqLM
from rlprompt.run.multi_task import BATCH_TOKENS, MOST_PADDING, Learned, MultiTaskPredictor
from rlprompt.run.predictor import Predictor
from rlprompt.tasks.template import Template
from rlprompt.testing import COMMON_WORDS, tiny_causal, tiny_masked, tiny_seq2seq

MAKERS = {
    "causal": lambda: CausalLM(*tiny_causal("gpt2")),
    "masked": lambda: MaskedLM(*tiny_masked("roberta")),
    "seq2seq": lambda: Seq2SeqLM(*tiny_seq2seq("t5")),
}
SENTIMENT = {"bad": ["bad", "not at all good"], "good": ["good"]}
TOPIC = {"film": ["film"], "story": ["story"], "other": ["thing"]}


@functools.cache
def lm_of(family):
    return MAKERS[family]()


def tasks_of(family):
    """Two text prompts and two soft ones, of three labels and two."""
    mask = " {mask}" if family == "masked" else ""
    template = Template("{text} {prompt}" + mask)
    before = Template("{prompt} {text} and {other}" + mask)
    soft = looked_up(lm_of(family).model, [11, 12, 13, 14])
    return {
        "feeling": Learned(
            template, ("bad", "good"), SENTIMENT, {"bad": 0.3, "good": -0.3}, "overall"
        ),
        "topic": Learned(before, ("film", "story", "other"), TOPIC, text="in short it was"),
        "soft feeling": Learned(template, ("bad", "good"), SENTIMENT, soft=soft),
        "soft topic": Learned(before, ("film", "story", "other"), TOPIC, soft=2 * soft[:2]),
    }


def texts_for(names, count=40):
    generator = np.random.default_rng(5)
    texts = []
    for n in range(count):
        name = list(names)[int(generator.integers(len(names)))]
        text = " ".join(generator.choice(COMMON_WORDS, size=1 + n % 23))
        both = {"text": text, "other": str(generator.choice(COMMON_WORDS))}
        texts.append((name, both if "topic" in name else text))
    return texts


@pytest.mark.parametrize("family", MAKERS)
def test_a_mixed_batch_is_one_task_at_a_time(family):
    lm, tasks = lm_of(family), tasks_of(family)
    mixed, texts = MultiTaskPredictor(lm, tasks), texts_for(tasks)
    assert {name for name, _ in texts} == set(tasks)
    found = mixed.predict(texts)
    for (name, text), prediction in zip(texts, found, strict=True):
        alone = MultiTaskPredictor(lm, {name: tasks[name]}).predict([(name, text)])[0]
        assert prediction.label == alone.label
        for label, value in alone.probabilities.items():
            assert prediction.probabilities[label] == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize("family", MAKERS)
def test_text_prompts_are_labelled_as_by_their_own_predictor(family):
    lm, tasks = lm_of(family), tasks_of(family)
    texts = [each for each in texts_for(tasks) if "soft" not in each[0]]
    found = MultiTaskPredictor(lm, tasks).predict(texts)
    for name in ("feeling", "topic"):
        task = tasks[name]
        own = Predictor(
            lm,
            template=task.template,
            labels=task.labels,
            words=task.words,
            text=task.text,
            calibration=task.calibration or dict.fromkeys(task.labels, 0.0),
        )
        asked = [text for other, text in texts if other == name]
        mine = [p for (other, _), p in zip(texts, found, strict=True) if other == name]
        for one, other in zip(own.predict(asked), mine, strict=True):
            values = list(one.probabilities.values())
            np.testing.assert_allclose(list(other.probabilities.values()), values, atol=1e-4)


def test_a_forward_holds_rows_of_many_tasks(monkeypatch):
    lm, tasks = lm_of("causal"), tasks_of("causal")
    masks = []
    forward = lm.model.forward

    def counted(*positional, **named):
        masks.append(named["attention_mask"])
        return forward(*positional, **named)

    monkeypatch.setattr(lm.model, "forward", counted)
    texts = texts_for(tasks, 80)
    MultiTaskPredictor(lm, tasks).predict(texts)
    sizes = [mask.shape[0] * mask.shape[-1] for mask in masks]
    assert max(sizes) <= BATCH_TOKENS
    assert len(masks) < len(texts) / 6
    plain = [mask for mask in masks if mask.ndim == 2]
    assert all((mask == 0).sum() <= MOST_PADDING for mask in plain)


def test_a_text_that_tasks_share_is_read_once(monkeypatch):
    lm, tasks = lm_of("causal"), tasks_of("causal")
    sizes = []
    forward = lm.model.forward

    def counted(*positional, **named):
        sizes.append(named["inputs_embeds"].shape[:2].numel())
        return forward(*positional, **named)

    monkeypatch.setattr(lm.model, "forward", counted)
    predictor = MultiTaskPredictor(lm, tasks)
    asked = [(name, " ".join(COMMON_WORDS[:20])) for name in ("feeling", "soft feeling")]
    alone = [predictor.predict([each])[0] for each in asked]
    read_alone = sum(sizes)
    sizes.clear()
    together = predictor.predict(asked)
    assert sum(sizes) < 0.7 * read_alone
    for one, other in zip(alone, together, strict=True):
        values = list(one.probabilities.values())
        np.testing.assert_allclose(list(other.probabilities.values()), values, atol=1e-5)


def test_nothing_to_label():
    assert MultiTaskPredictor(lm_of("causal"), tasks_of("causal")).predict([]) == []


def test_refused():
    lm, tasks = lm_of("causal"), tasks_of("causal")
    predictor = MultiTaskPredictor(lm, tasks)
    with pytest.raises(ConfigError, match=r"no task 'feling'.*Did you mean 'feeling'"):
        predictor.predict([("feling", "a text")])
    with pytest.raises(TemplateError, match="has the fields text, other"):
        predictor.predict([("topic", "a text")])
    with pytest.raises(ConfigError, match="There is no task: give one"):
        MultiTaskPredictor(lm, {})
    template, labels = Template("{text}{prompt}"), ("bad", "good")
    narrow = Learned(template, labels, SENTIMENT, soft=torch.zeros(3, 5))
    with pytest.raises(ConfigError, match="trained for another LM"):
        MultiTaskPredictor(lm, {"narrow": narrow})
    with pytest.raises(ConfigError, match="give its text or a soft prompt, not both"):
        Learned(template, labels, SENTIMENT, text="x", soft=torch.zeros(1, 1))
    with pytest.raises(ConfigError, match="give a bias for each label"):
        Learned(template, labels, SENTIMENT, {"bad": 1.0})
