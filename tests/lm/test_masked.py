"""Masked LMs score what one forward of one rendered text gives, whatever way it is asked."""

import functools
import itertools
import logging
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlprompt.core.errors import ConfigError, LMError, TemplateError
from rlprompt.core.prompt import Prompt
from rlprompt.lm.batching import Limits
from rlprompt.lm.masked import MaskedLM
from rlprompt.lm.masked_forward import HeadAtMasks
from rlprompt.tasks.examples import Example
from rlprompt.tasks.template import Template
from rlprompt.tasks.tokenization import prompt_of, retokenizes
from rlprompt.tasks.verbalizer import Verbalizer
from rlprompt.testing import (
    COMMON_WORDS,
    MASKED_FAMILIES,
    check_blind_to_labels,
    check_embeddings,
    check_scorer,
    tiny_masked,
)

SOURCES = (
    "{text} {prompt} {mask} .",
    "{mask} {prompt} {text}",
    "{text}{prompt} {mask}",
    "{prompt} {text} It was {mask}.",
    "{text} {mask} {prompt} and {other}",
    "Review: {text} {prompt}: {mask}!",
    "{{ {text} }}\nSo{prompt}\n{mask}",
    "{text} {prompt:4} {mask}",
    "{prompt:2} {text} {prompt:3} {mask}",
    "{text}{prompt:1} {mask} {prompt:2}.",
    "{prompt:2}: {text} {prompt:1} {prompt:2}, {{{mask}}}!",
    "{mask} {prompt:1} {text} and{prompt:3}: {other}",
)
#: What stands in up to three slots.
TEXTS = (
    ("", "", ""),
    ("overall", "", ""),
    ("in short", "it was", ""),
    ("", "", "it was"),
    ("the film", "that", "I saw is"),
)
WORDS = {
    "one token": Verbalizer((("bad",), ("good",))),
    "two tokens": Verbalizer((("not good",), ("quite good",), ("very fine",))),
    "mixed": Verbalizer((("bad", "not at all good"), ("really fine", "good"), ("unquestionably",))),
}
SOURCE, ONE = SOURCES[0], WORDS["one token"]
TEMPLATE = Template(SOURCE)


@functools.cache
def model_of(family):
    return tiny_masked(family)


@functools.cache
def lm_of(family, **options):
    return MaskedLM(*model_of(family), **options)


def dealt(source, texts):
    """The slots of a template and the text of each, the last with all that is left."""
    slots = re.findall(r" ?\{prompt[:0-9]*\}", source)
    last = len(slots) - 1
    return slots, [*texts[:last], " ".join(filter(None, texts[last:]))]


def prompt_in(lm, source, texts):
    """The prompt that has ``texts`` in its slots, with a space before each in any case."""
    slots, texts = dealt(source, texts)
    pairs = zip(slots, texts, strict=True)
    spaced = [f" {text}" if text and slot[0] != " " else text for slot, text in pairs]
    return prompt_of(lm.tokenizer, Template(source), "||".join(spaced))


def render(source, fields, texts, masks):
    """Written out so that it does not depend on Template; a slot's text always follows a space."""
    whole = source.replace("{{{", "\0{").replace("}}}", "}\1")
    whole = whole.replace("{{", "\0").replace("}}", "\1")
    for slot, text in zip(*dealt(source, texts), strict=True):
        whole = whole.replace(slot, text and f" {text}", 1)
    for name, value in {**fields, "mask": masks}.items():
        whole = whole.replace("{" + name + "}", value)
    return whole.replace("\0", "{").replace("\1", "}")


def reference(family, source, verbalizer, fields, texts):
    """Label log-probabilities of one text: the tokenizer's own ids, the model's own logits."""
    model, tokenizer = model_of(family)
    labels = []
    for label in verbalizer.words:
        total = 0.0
        for word in label:
            ids = tokenizer.encode(f" {word}", add_special_tokens=False)
            text = render(source, fields, texts, tokenizer.mask_token * len(ids))
            inputs = tokenizer(text, return_tensors="pt")
            (places,) = (inputs.input_ids[0] == tokenizer.mask_token_id).nonzero(as_tuple=True)
            assert len(places) == len(ids)
            with torch.no_grad():
                logprobs = model(**inputs).logits[0, places].double().log_softmax(-1)
            total += np.exp(float(logprobs[range(len(ids)), ids].sum()))
        labels.append(total)
    return np.log(np.asarray(labels) / sum(labels))


@pytest.fixture(scope="module", params=MASKED_FAMILIES)
def family(request):
    return request.param


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("verbalizer", WORDS.values(), ids=WORDS)
def test_scores_are_those_of_single_forwards(family, source, verbalizer, examples):
    lm = lm_of(family)
    some = examples[2:6]
    prompts = [prompt_in(lm, source, texts) for texts in TEXTS]
    scorer = lm.bind(Template(source), verbalizer, some, max_prompt_tokens=12)
    assert isinstance(lm._forward, HeadAtMasks)
    assert scorer.truncated == 0
    expected = [
        [reference(family, source, verbalizer, e.fields, texts) for e in some] for texts in TEXTS
    ]
    np.testing.assert_allclose(scorer.choice_logprobs(prompts), expected, atol=1e-4)
    plain = lm.plain(Template(source), verbalizer, some, max_prompt_tokens=12)
    np.testing.assert_allclose(plain.choice_logprobs(prompts), expected, atol=1e-4)


@pytest.mark.parametrize("source", ["{prompt:2} {text} {prompt:3} {mask}", SOURCES[-2]])
def test_tokens_fill_the_slots_from_the_left(family, source, examples):
    lm, some = lm_of(family), examples[2:4]
    words = ("it", "was", "in", "short", "I")
    ids = [token for word in words for token in lm.tokenizer.encode(f" {word}")]
    assert len(ids) == len(words)
    scorer = lm.bind(Template(source), ONE, some, max_prompt_tokens=5)
    scores = scorer.choice_logprobs([Prompt(tuple(ids[:n])) for n in range(6)])
    (first, *others) = (int(size) for size in re.findall(r":(\d)", source))
    ends = [0, first, first + others[0], 5]
    for n in range(6):
        texts = [" ".join(words[a:b][: max(0, n - a)]) for a, b in itertools.pairwise(ends)]
        expected = [reference(family, source, ONE, e.fields, texts) for e in some]
        np.testing.assert_allclose(scores[n], expected, atol=1e-4)


SENTENCE = st.lists(st.sampled_from((*COMMON_WORDS, "wonderful", "don't", "(!)", ",")), max_size=9)


@settings(max_examples=60, deadline=None)
@given(
    family=st.sampled_from(MASKED_FAMILIES),
    source=st.sampled_from(SOURCES),
    verbalizer=st.sampled_from([*WORDS.values()]),
    texts=st.lists(SENTENCE.map(" ".join), min_size=1, max_size=4),
    prompts=st.lists(
        st.tuples(*[st.lists(st.sampled_from(COMMON_WORDS), max_size=3).map(" ".join)] * 3),
        min_size=1,
        max_size=4,
    ),
    limits=st.builds(Limits, batch_tokens=st.integers(1, 200)),
)
def test_any_texts_and_batches(family, source, verbalizer, texts, prompts, limits):
    lm = MaskedLM(*model_of(family), limits=limits)
    given = [Example({"text": f"A {text}", "other": text or "so"}, 0) for text in texts]
    asked = [prompt_in(lm, source, slots) for slots in prompts]
    scorer = lm.bind(Template(source), verbalizer, given, max_prompt_tokens=20)
    expected = [
        [reference(family, source, verbalizer, e.fields, slots) for e in given] for slots in prompts
    ]
    np.testing.assert_allclose(scorer.choice_logprobs(asked), expected, atol=1e-4)


@pytest.mark.parametrize("verbalizer", WORDS.values(), ids=WORDS)
def test_every_family_conforms(family, verbalizer, examples):
    lm = lm_of(family)
    prompts = [prompt_in(lm, SOURCE, texts) for texts in TEXTS[1:]]
    check_scorer(lm, TEMPLATE, verbalizer, examples[:4], prompts)
    check_blind_to_labels(lm, TEMPLATE, verbalizer, examples[:3], prompts)
    check_embeddings(lm, [5, 300, 7])
    assert lm.identity.family == "masked"


def test_a_prompt_is_its_text_in_context(family, examples):
    tokenizer = lm_of(family).tokenizer
    for source in SOURCES:
        prompt = prompt_in(lm_of(family), source, ("in short", "it", "was"))
        assert tokenizer.decode(prompt.ids) == " in short it was"
        if family != "xlm-roberta" or not re.search(r"\{prompt[:0-9]*\}[:,.]", source):
            assert retokenizes(tokenizer, Template(source), prompt, examples[0].fields)


@pytest.mark.parametrize("source", [SOURCE, SOURCES[1], SOURCES[4], *SOURCES[-4:]])
@pytest.mark.parametrize("verbalizer", WORDS.values(), ids=WORDS)
def test_long_text_is_cut_and_prompt_and_mask_survive(family, source, verbalizer):
    lm, (_, tokenizer) = lm_of(family), model_of(family)
    words = ["film", "story", "plot", "cast"] * 50
    most = max(len(tokenizer.encode(f" {w}", add_special_tokens=False)) for w in verbalizer.flat)
    prompts = (("in short", "it", "was"), ("", "I", ""))
    fields = {"text": " film", "other": "fine"}
    shortest = render(source, fields, prompts[0], tokenizer.mask_token * most)
    room = lm.context - len(tokenizer(shortest).input_ids) + 1
    given = [
        Example({"text": " " + " ".join(words), "other": "fine"}, 0),
        Example({"text": "fine", "other": "fine"}, 1),
    ]
    scorer = lm.bind(Template(source), verbalizer, given, max_prompt_tokens=4)
    assert scorer.truncated == 1
    fields = {"text": " " + " ".join(words[:room]), "other": "fine"}
    scores = scorer.choice_logprobs([prompt_in(lm, source, texts) for texts in prompts])
    for row, texts in zip(scores[:, 0], prompts, strict=True):
        expected = reference(family, source, verbalizer, fields, texts)
        np.testing.assert_allclose(row, expected, atol=1e-4)


def test_an_empty_slot_takes_no_more_room_than_there_is():
    # By itself XLM-R's full stop is two tokens, right after a word it is one.
    lm = lm_of("xlm-roberta")
    template = Template("{text} {prompt:1} {mask} {prompt:1}.")
    for words, room, dots in ((200, 1, 1), (200, 2, 2), (20, 1, 2)):
        given = [Example({"text": "film " * words}, 0)]
        scorer = lm.bind(template, ONE, given, max_prompt_tokens=room)
        prompt = prompt_of(lm.tokenizer, template, "short")
        ids, at = scorer._masked.row(0, prompt, 1)
        assert len(ids) <= lm.context
        assert len(ids) - at - 2 == dots
        assert np.isfinite(scorer.choice_logprobs([prompt])).all()


@pytest.mark.parametrize("text", ["good film", "☃ ☃ ☃", "🎬" * 40, "don't " * 40])
def test_cutting_ends_whatever_the_text(family, text):
    for room in range(4):
        try:
            scorer = lm_of(family).bind(
                TEMPLATE, ONE, [Example({"text": text}, 0)], max_prompt_tokens=120 + room
            )
        except ConfigError as error:
            assert "do not fit the LM's context of 128 tokens" in str(error)  # noqa: PT017
        else:
            assert np.isfinite(scorer.choice_logprobs([Prompt((300,) * (120 + room))])).all()


def test_what_spells_a_special_token_is_text(family):
    lm, (_, tokenizer) = lm_of(family), model_of(family)
    special = {*tokenizer.all_special_ids} - {tokenizer.unk_token_id}
    for name in (tokenizer.mask_token, tokenizer.sep_token, tokenizer.pad_token):
        for text in (name, f"a {name} film", f"({name})", name * 3):
            ids = lm.tokenizer.encode(text)
            assert special.isdisjoint(ids)
            assert len(ids) > 2
            assert lm.tokenizer.encode_all([text, "a"]) == [ids, lm.tokenizer.encode("a")]
            text_of_it = lm.tokenizer.decode(ids)
            assert lm.tokenizer.encode(text_of_it) == ids
    mask = tokenizer.mask_token
    given = [Example({"text": f"The {mask} film {{mask}} {mask}"}, n) for n in (0, 1)]
    prompts = [prompt_in(lm, SOURCE, [text]) for text in (f"say {mask} now", "say now")]
    check_scorer(lm, TEMPLATE, WORDS["mixed"], given, prompts)
    scorer = lm.bind(TEMPLATE, ONE, given, max_prompt_tokens=20)
    ids, at = scorer._masked.row(0, prompts[0], 2)
    assert [n for n, i in enumerate(ids) if i == tokenizer.mask_token_id] == [at, at + 1]
    assert ids[at - len(prompts[0]) : at] == prompts[0].ids


def test_a_mask_id_within_a_prompt_is_not_the_slot(family, examples):
    lm, (model, tokenizer) = lm_of(family), model_of(family)
    scorer = lm.bind(TEMPLATE, ONE, examples[:2], max_prompt_tokens=2)
    ids, at = scorer._masked.row(0, Prompt((tokenizer.mask_token_id,)), 1)
    assert [n for n, i in enumerate(ids) if i == tokenizer.mask_token_id] == [at - 1, at]
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, at].double()
    words = [tokenizer.encode(f" {word}", add_special_tokens=False)[0] for word in ONE.flat]
    found = scorer.choice_logprobs([Prompt((tokenizer.mask_token_id,))])[0, 0]
    np.testing.assert_allclose(found, logits[words].log_softmax(-1), atol=1e-4)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{text} {prompt}", r"has no \{mask\}.*write e.g. '\{text\} \{prompt\} \{mask\}'"),
        ("{text} {prompt} [MASK]", r"spells the mask token '\[MASK\]': write \{mask\}"),
        ("{text} [SEP] {prompt} {mask}", r"spells the special token '\[SEP\]': leave it out"),
        ("{txt} {prompt} {mask}", "asks for {txt}.*Did you mean 'text'"),
        ("{text} {mask} {prompt} {mask}", "more than once"),
    ],
)
def test_templates_that_do_not_suit_are_refused(source, message, examples):
    with pytest.raises(TemplateError, match=message):
        lm_of("bert").bind(Template(source), ONE, examples, max_prompt_tokens=2)


def test_unknown_label_words_are_refused(examples):
    with pytest.raises(TemplateError, match="does not know the label word '☃'"):
        lm_of("bert").bind(TEMPLATE, Verbalizer((("☃",), ("a",))), examples, max_prompt_tokens=2)


def test_a_tokenizer_without_a_mask_token_is_refused():
    model, tokenizer = tiny_masked("bert")
    tokenizer.mask_token = None
    with pytest.raises(LMError, match="has no mask token"):
        MaskedLM(model, tokenizer)


def test_prompts_that_cannot_fit_are_refused(examples):
    with pytest.raises(ConfigError, match="ask for a shorter prompt or shorten the template"):
        lm_of("roberta").bind(TEMPLATE, ONE, examples, max_prompt_tokens=126)


def test_split_label_words_are_named_once(examples, caplog):
    lm = MaskedLM(*model_of("bert"))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            verbalizer = Verbalizer((("reworking",), ("good",)))
            lm.bind(TEMPLATE, verbalizer, examples, max_prompt_tokens=2)
    (message,) = [r.getMessage() for r in caplog.records]
    assert message == (
        "The tokenizer splits the label word 'reworking' into "
        "' re' + 'w' + 'o' + 'r' + 'k' + 'ing': it is scored as 6 tokens."
    )
