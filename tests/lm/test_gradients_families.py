"""Masked LMs and encoder-decoders: differentiable scores are those of a search."""

import functools

import numpy as np
import pytest
import torch

from rlprompt.core.prompt import Prompt
from rlprompt.lm.gradients import looked_up
from rlprompt.lm.masked import MaskedLM
from rlprompt.lm.seq2seq import Seq2SeqLM
from rlprompt.tasks.examples import Example
from rlprompt.tasks.template import Template
from rlprompt.tasks.tokenization import prompt_of, retokenizes
from rlprompt.tasks.verbalizer import Verbalizer
from rlprompt.testing import (
    COMMON_WORDS,
    MASKED_FAMILIES,
    SEQ2SEQ_FAMILIES,
    tiny_masked,
    tiny_seq2seq,
)

FAMILIES = (*(("masked", f) for f in MASKED_FAMILIES), *(("seq2seq", f) for f in SEQ2SEQ_FAMILIES))
#: A template, and a prompt that fills its slots.
ASKED = (
    ("{text} {prompt} {mask} .", "in short it was"),
    ("{mask} {prompt} {text}", "overall"),
    ("{prompt} {text} It was {mask}.", "the film"),
    ("{prompt:2} {text} {prompt:1} {mask}", "in short||overall"),
)
WITHOUT_MASK = (("{text}{prompt}", " in short it was"), ("{prompt} {text}", "overall"))
MIXED = Verbalizer((("bad", "not at all good"), ("really fine", "good"), ("unquestionably",)))


@functools.cache
def make_lm(kind, family):
    if kind == "masked":
        return MaskedLM(*tiny_masked(family))
    return Seq2SeqLM(*tiny_seq2seq(family))


@pytest.fixture(scope="module")
def some():
    generator = np.random.default_rng(3)
    return [
        Example({"text": "The " + " ".join(generator.choice(COMMON_WORDS, size=size))}, 0)
        for size in (4, 19, 1, 8)
    ]


def asked(kind):
    return ASKED if kind == "masked" else (*ASKED, *WITHOUT_MASK)


@pytest.mark.parametrize(("kind", "family"), FAMILIES)
def test_text_prompts_score_as_in_a_search(kind, family, some):
    lm = make_lm(kind, family)
    for source, text in asked(kind):
        template = Template(source)
        filled = prompt_of(lm.tokenizer, template, text)
        for prompt in (filled, Prompt(filled.ids[:1]), Prompt()):
            expected = lm.plain(template, MIXED, some, max_prompt_tokens=6)
            scorer = lm.bind_gradients(
                template, MIXED, some, prompt=prompt, soft_tokens=6, model=None
            )
            with torch.no_grad():
                found = scorer.choice_logprobs([3, 0, 1]).numpy()
            rows = expected.choice_logprobs([prompt])[0][[3, 0, 1]]
            np.testing.assert_allclose(found, rows, atol=1e-4, err_msg=source)


@pytest.mark.parametrize(("kind", "family"), FAMILIES)
def test_embeddings_of_a_text_score_as_the_text(kind, family, some):
    lm, compared = make_lm(kind, family), 0
    for source, text in asked(kind):
        template = Template(source)
        prompt = prompt_of(lm.tokenizer, template, text)
        # Soft rows have no text that could merge with what stands beside them, and an answer behind
        # a decoder's own reading of the text reads it without them.
        if not all(retokenizes(lm.tokenizer, template, prompt, e.fields) for e in some):
            continue
        # Soft rows are dealt to the slots as the template says.
        if prompt.sizes or (kind == "seq2seq" and family == "bart" and "{mask}" in source):
            continue
        compared += 1
        scorer = lm.bind_gradients(
            template, MIXED, some, prompt=Prompt(), soft_tokens=6, model=None
        )
        soft = looked_up(lm.model, prompt.ids)
        with torch.no_grad():
            found = scorer.choice_logprobs(range(4), soft).numpy()
        expected = lm.plain(template, MIXED, some, max_prompt_tokens=6).choice_logprobs([prompt])
        np.testing.assert_allclose(found, expected[0], atol=1e-4, err_msg=source)
    assert compared


@pytest.mark.parametrize(("kind", "family"), FAMILIES)
def test_only_the_soft_prompt_gets_a_gradient(kind, family, some):
    lm = make_lm(kind, family)
    for source, _ in asked(kind):
        scorer = lm.bind_gradients(
            Template(source), MIXED, some, prompt=Prompt(), soft_tokens=3, model=None
        )
        soft = looked_up(lm.model, [7, 8, 9]).requires_grad_()
        scorer.choice_logprobs([1, 2], soft)[:, 0].sum().backward()
        assert (soft.grad.abs().max(dim=1).values > 0).all(), source
    assert all(parameter.grad is None for parameter in lm.model.parameters())
