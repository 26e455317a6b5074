"""Encoder-decoder scores are those of one forward of one example, one prompt and one label."""

import copy
import functools
import logging
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from rlprompt.lm.batching import Limits
from rlprompt.lm.linear import PackedLinear, pack_linears
from rlprompt.lm.seq2seq import Seq2SeqLM
from rlprompt.tasks.examples import Example
from rlprompt.tasks.template import Template
from rlprompt.tasks.tokenization import prompt_of
from rlprompt.tasks.verbalizer import Verbalizer
from rlprompt.testing import COMMON_WORDS, check_blind_to_labels, check_embeddings, check_scorer
from rlprompt.testing.tiny_seq2seq import SEQ2SEQ_FAMILIES, tiny_seq2seq

SOURCES = (
    "{text}{prompt}",
    "{prompt} {text}",
    "{text} {prompt} {mask}",
    "{mask} {prompt} {text}",
    "{prompt}: {text} It was {mask}.",
    "Review: {text}{prompt}\nSentiment:",
    "{prompt:2} {text} {prompt:3} {mask}",
    "{prompt:1} {text}: {prompt:4}",
    "{text} {prompt:1} {mask} {prompt:2}, {prompt:2}!",
)
#: What stands in up to three slots.
TEXTS = (
    ("", "", ""),
    (" overall", "", ""),
    (" in short", " it was", ""),
    ("", " ugh", ""),
    (" the film", " that", " I saw is"),
)
ONE_TOKEN = Verbalizer((("bad",), ("good",)))
MIXED = Verbalizer((("bad", "good no"), ("good yes no", "great"), ("good yes yes",)))


@functools.cache
def make_lm(family, **named):
    model, tokenizer = tiny_seq2seq(family)
    if family == "bart":
        # All zero in a new model, and rarely anything else in published ones.
        torch.manual_seed(0)
        model.final_logits_bias.normal_()
    return Seq2SeqLM(model, tokenizer, **named)


def dealt(source, texts):
    """The slots of a template and the text of each, the last with all that is left."""
    slots = re.findall(r" ?\{prompt[:0-9]*\}", source)
    last = len(slots) - 1
    return slots, [*texts[:last], "".join(texts[last:])]


def prompts_of(lm, source="{text}{prompt}", prompts=TEXTS):
    found = []
    for texts in prompts:
        slots, texts = dealt(source, texts)
        own = [t[1:] if slot[0] == " " else t for slot, t in zip(slots, texts, strict=True)]
        found.append(prompt_of(lm.tokenizer, Template(source), "||".join(own)))
    return found


def rendered(source, text, texts):
    """Fills a template by hand; returns what stands left and right of the mask, if there is one."""
    whole = source
    for slot, each in zip(*dealt(source, texts), strict=True):
        whole = whole.replace(slot, each, 1)
    left, mask, right = whole.replace("{text}", text).partition("{mask}")
    return (left, right) if mask else (left, None)


def reference(lm, source, verbalizer, text, prompt):
    """Label log-probabilities with ``labels=``, as transformers' own training has them."""
    model, tokenizer = lm.model, lm.tokenizer.hf
    is_bart = tokenizer.mask_token is not None
    left, right = rendered(source, text, prompt)
    mask = "<mask>" if is_bart else "<extra_id_0>"
    whole = left if right is None else left + mask + right
    inputs = tokenizer(whole, return_tensors="pt")
    if right is None:
        before = [tokenizer.bos_token_id] if is_bart else []
    elif is_bart:
        before = tokenizer(left.rstrip()).input_ids[:-1]
    else:
        before = tokenizer(mask).input_ids[:-1]
    space = " " if right is not None and left.strip() else ""
    totals = []
    for words in verbalizer.words:
        total = 0.0
        for word in words:
            ids = tokenizer(space + word, add_special_tokens=False).input_ids
            labels = torch.tensor([before + ids])
            with torch.no_grad():
                logits = model(**inputs, labels=labels).logits[0].double()
            steps = logits.log_softmax(-1)[len(before) :]
            total += steps.gather(1, torch.tensor(ids)[:, None]).sum().exp().item()
        totals.append(total)
    return np.log(np.asarray(totals) / sum(totals))


@pytest.fixture(params=SEQ2SEQ_FAMILIES)
def lm(request):
    return make_lm(request.param)


@pytest.mark.parametrize("source", SOURCES)
def test_scores_are_those_of_single_forwards(lm, source, examples):
    prompts = prompts_of(lm, source)
    expected = [
        [reference(lm, source, MIXED, e.fields["text"], texts) for e in examples] for texts in TEXTS
    ]
    for bind in (lm.bind, lm.plain):
        scorer = bind(Template(source), MIXED, examples, max_prompt_tokens=6)
        assert scorer.truncated == 0
        np.testing.assert_allclose(scorer.choice_logprobs(prompts), expected, atol=1e-4)
    assert lm._halves


WORDS = st.sampled_from(COMMON_WORDS)
SENTENCES = st.lists(WORDS, min_size=1, max_size=12).map(" ".join)


@settings(max_examples=40, deadline=None)
@given(
    family=st.sampled_from(SEQ2SEQ_FAMILIES),
    source=st.sampled_from(SOURCES),
    texts=st.lists(SENTENCES, min_size=1, max_size=4),
    prompts=st.lists(st.tuples(*[st.lists(WORDS, max_size=3)] * 3), min_size=1, max_size=4),
    verbalizer=st.sampled_from([ONE_TOKEN, MIXED]),
    batch_tokens=st.sampled_from([1, 40, 150, 10_000]),
)
def test_any_texts_prompts_and_batches(family, source, texts, prompts, verbalizer, batch_tokens):
    lm = make_lm(family, limits=Limits(batch_tokens=batch_tokens))
    given = [Example({"text": text}, 0) for text in texts]
    asked = [["".join(f" {word}" for word in words) for words in slots] for slots in prompts]
    scorer = lm.bind(Template(source), verbalizer, given, max_prompt_tokens=12)
    scores = scorer.choice_logprobs(prompts_of(lm, source, asked))
    assert scores.shape == (len(asked), len(texts), len(verbalizer))
    expected = [[reference(lm, source, verbalizer, t, p) for t in texts] for p in asked]
    np.testing.assert_allclose(scores, expected, atol=1e-4)


@pytest.mark.parametrize("verbalizer", [ONE_TOKEN, MIXED], ids=["one token", "mixed"])
def test_every_family_conforms(lm, verbalizer, examples):
    prompts = prompts_of(lm)[1:4]
    for source in ("{text}{prompt}", "{mask} {prompt} {text}", "{text} {prompt} {mask}."):
        check_scorer(lm, Template(source), verbalizer, examples[:3], prompts)
    check_blind_to_labels(lm, Template("{text} {prompt} {mask}"), verbalizer, examples, prompts)
    check_embeddings(lm, [5, 300, 7])


def test_prompts_change_scores_and_prefixes_are_not_free(lm, examples):
    scorer = lm.bind(Template("{text} {prompt} {mask}"), ONE_TOKEN, examples, max_prompt_tokens=6)
    assert scorer.choice_logprobs(prompts_of(lm))[:, :, 0].std(0).mean() > 0.05
    assert not scorer.prefixes_are_free
    with pytest.raises(ValueError, match="no prefix scores"):
        scorer.prefix_logprobs(prompts_of(lm))
    assert scorer.choice_logprobs([]).shape == (0, len(examples), 2)


def test_identity_and_context(lm):
    assert lm.identity.family == "seq2seq"
    assert lm.context == 128
    for ids in (lm.tokenizer.encode(" a good film"), lm.tokenizer.encode(" bad")):
        assert lm.tokenizer.encode(lm.tokenizer.decode(ids)) == ids
        assert lm.tokenizer.decode(ids).startswith(" ")


def test_the_head_reads_what_it_reads_in_the_model():
    scales = {}
    for family in SEQ2SEQ_FAMILIES:
        lm = make_lm(family)
        assert lm._probe()
        scales[family] = lm._backbone.scale
    assert scales == {"t5": 32**-0.5, "t5-v1.1": 1.0, "bart": 1.0}


def test_an_architecture_that_cannot_be_halved_is_scored_plainly(examples, monkeypatch, caplog):
    model, tokenizer = tiny_seq2seq("t5")
    lm = Seq2SeqLM(model, tokenizer, name="whole")

    def refuse(*_, **__):
        raise TypeError("no encoder_hidden_states")

    monkeypatch.setattr(lm._backbone, "decode", refuse)
    template = Template("{text} {prompt} {mask}")
    with caplog.at_level(logging.WARNING):
        scorer = lm.bind(template, MIXED, examples[:2], max_prompt_tokens=6)
    assert "whole (T5ForConditionalGeneration) cannot share its encoder" in caplog.text
    expected = reference(lm, template.source, MIXED, examples[1].fields["text"], TEXTS[2])
    found = scorer.choice_logprobs(prompts_of(lm))[2, 1]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_meter_counts_encoder_and_decoder_and_equal_rows_once(examples):
    lm = make_lm("t5", name="metered")
    template = Template("{text} {prompt} {mask}")
    scorer = lm.bind(template, ONE_TOKEN, examples, max_prompt_tokens=2)
    # Sentinel and </s>; the decoder's start token and sentinel.
    texts = sum(len(lm.tokenizer.encode(e.fields["text"])) + 4 for e in examples)
    one, two = prompts_of(lm, prompts=[[" overall"], [" in short"]])
    for asked, tokens in (([one], 1), ([one, one], 1), ([two], 2)):
        before, seconds = lm.meter.tokens, lm.meter.seconds
        scorer.choice_logprobs(asked)
        assert lm.meter.tokens - before == texts + tokens * len(examples)
        assert lm.meter.seconds > seconds
    # Words of several tokens: the encoder still reads every text once.
    scorer = lm.bind(template, MIXED, examples, max_prompt_tokens=2)
    before = lm.meter.tokens
    scorer.choice_logprobs([one])
    # "good no" and "good yes no" are read as "good" and "good yes", which holds the first.
    stems = len(lm.tokenizer.encode("good yes"))
    assert lm.meter.tokens - before == texts + (1 + stems) * len(examples)


def test_linear_layers_through_onednn_change_no_score(lm, examples):
    template = Template("{text} {prompt} {mask}")
    model = copy.deepcopy(lm.model)
    other = Seq2SeqLM(model, lm.tokenizer.hf)
    scorer = other.bind(template, MIXED, examples, max_prompt_tokens=6)
    before = scorer.choice_logprobs(prompts_of(lm))
    tokens = torch.arange(4)[None]
    count = pack_linears(
        model,
        lambda: model(input_ids=tokens, decoder_input_ids=tokens).logits,
        keep=model.get_output_embeddings(),
    )
    assert count == sum(isinstance(module, PackedLinear) for module in model.modules()) > 20
    assert [m for m in model.modules() if type(m) is nn.Linear] == [model.get_output_embeddings()]
    np.testing.assert_allclose(scorer.choice_logprobs(prompts_of(lm)), before, atol=1e-5)
