"""Prompts in several slots: every token keeps its slot, whatever the tokenizer does to the text."""

import functools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rlprompt.core.prompt import Prompt
from rlprompt.lm.tokenizer import HFTokenizer
from rlprompt.tasks.template import Template
from rlprompt.tasks.tokenization import canonical, prompt_of, prompt_text, retokenizes
from rlprompt.testing import COMMON_WORDS, tiny_masked
from rlprompt.testing.tiny_seq2seq import tiny_seq2seq

TEMPLATE = Template("{prompt:2} {text} {prompt:3} {mask}")
SOURCES = (
    TEMPLATE.source,
    "{text}{prompt:1}: {prompt:2}",
    "{prompt:1} {prompt:2} {text} {prompt:1}!",
)
FAMILIES = ("bert", "roberta", "xlm-roberta", "t5")


@functools.cache
def tokenizer_of(family):
    _, tokenizer = (tiny_seq2seq if family == "t5" else tiny_masked)(family)
    return HFTokenizer(tokenizer, len(tokenizer), prose=True)


def test_tokens_fill_the_slots_from_the_left():
    one, other, *rest = COMMON_WORDS[:5]
    for family in FAMILIES:
        tokenizer = tokenizer_of(family)
        ids = tuple(tokenizer.encode(f" {word}")[0] for word in (one, other, *rest))
        texts = [prompt_text(tokenizer, TEMPLATE, Prompt(ids[:n])) for n in range(6)]
        assert texts == [
            "",
            f" {one}",
            f" {one} {other}",
            f" {one} {other}||{rest[0]}",
            f" {one} {other}||{rest[0]} {rest[1]}",
            f" {one} {other}||{' '.join(rest)}",
        ]
        assert [prompt_of(tokenizer, TEMPLATE, text) for text in texts] == [
            Prompt(ids[:n]) for n in range(6)
        ]


@pytest.mark.parametrize(
    ("text", "counts", "sizes"),
    [
        (" the film", (2, 0), ()),
        (" the film||was", (2, 1), ()),
        (" the||was", (1, 1), (1,)),
        ("||was", (0, 1), (0,)),
        (" the film was||so", (3, 1), (3,)),
        (" the film was", (3, 0), (3,)),
        (" the film||it was so good", (2, 4), ()),
    ],
)
def test_other_numbers_of_tokens_than_the_slots_ask_for(text, counts, sizes):
    tokenizer = tokenizer_of("roberta")
    prompt = prompt_of(tokenizer, TEMPLATE, text)
    assert tuple(map(len, prompt.parts(TEMPLATE.sizes))) == counts
    assert prompt.sizes == sizes
    assert prompt_text(tokenizer, TEMPLATE, prompt) == text
    assert canonical(tokenizer, TEMPLATE, prompt) == prompt


def test_equal_parts_are_equal_prompts():
    assert Prompt.of([(1, 2), (3,)], (2, 3)) == Prompt((1, 2, 3)) == Prompt.of([(1, 2, 3)], ())
    assert Prompt.of([(1,), (2, 3)], (2, 3)) == Prompt((1, 2, 3), (1,)) != Prompt((1, 2, 3))
    assert Prompt((1, 2, 3), (1,)).parts((2, 3)) == ((1,), (2, 3))
    assert [p.parts((2, 3)) for p in Prompt((1, 2), (1,)).prefixes()] == [((1,), ()), ((1,), (2,))]


def test_tokens_that_merge_stay_in_their_slot():
    tokenizer = tokenizer_of("bert")
    # Two pieces of one word, which its text encodes to as a whole.
    pieces = tuple(tokenizer.hf.convert_tokens_to_ids(["the", "##y", "film", "was"]))
    merged = canonical(tokenizer, TEMPLATE, Prompt(pieces))
    texts = [tokenizer.decode(part) for part in merged.parts(TEMPLATE.sizes)]
    assert texts == [" they", " film was"]
    assert merged.sizes == (1,)


TEXTS = st.lists(st.sampled_from((*COMMON_WORDS[:9], "|", "||", " ", "ugh", "!")), max_size=9)


def test_a_bar_before_the_separator_that_loses_its_space_goes_to_the_next_slot():
    tokenizer = tokenizer_of("bert")
    prompt = prompt_of(tokenizer, TEMPLATE, "so| ||it")
    parts = prompt.parts(TEMPLATE.sizes)
    assert [tokenizer.decode(part) for part in parts] == [" so", " | it"]


@settings(max_examples=150, deadline=None)
@given(family=st.sampled_from(FAMILIES), source=st.sampled_from(SOURCES), words=TEXTS)
@example(family="bert", source=TEMPLATE.source, words=["so", "|", " ", "||", "it"])
def test_what_is_read_from_a_text_is_canonical(family, source, words):
    tokenizer, template = tokenizer_of(family), Template(source)
    prompt = prompt_of(tokenizer, template, "".join(words))
    assert canonical(tokenizer, template, prompt) == prompt


@settings(max_examples=150, deadline=None)
@given(
    family=st.sampled_from(FAMILIES),
    source=st.sampled_from(SOURCES),
    data=st.data(),
)
def test_what_is_scored_is_what_a_user_of_the_text_gets(family, source, data):
    tokenizer, template = tokenizer_of(family), Template(source)
    ordinary = sorted({*range(tokenizer.vocab_size)} - tokenizer.special_ids)
    ids = data.draw(st.lists(st.sampled_from(ordinary), max_size=7))
    count = source.count("{prompt:")
    sizes = data.draw(
        st.just([]) | st.lists(st.integers(0, 4), min_size=count - 1, max_size=count - 1)
    )
    prompt = canonical(tokenizer, template, Prompt(tuple(ids), tuple(sizes)))
    assert canonical(tokenizer, template, prompt) == prompt
    # Put into the slots by hand.
    texts = prompt_text(tokenizer, template, prompt).split("||", count - 1)
    texts += [""] * (count - len(texts))
    before = source.split("{prompt:")[:-1]
    spaced = [f" {t}" if b.endswith(" ") and t else t for b, t in zip(before, texts, strict=True)]
    assert prompt.parts(template.sizes) == tuple(map(tokenizer.encode, spaced))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_rendered_example_holds_the_ids_of_every_slot(family):
    tokenizer = tokenizer_of(family)
    fields = {"text": "a film"}
    prompt = prompt_of(tokenizer, TEMPLATE, " so it||was in all")
    assert retokenizes(tokenizer, TEMPLATE, prompt, fields)
    assert retokenizes(tokenizer, TEMPLATE, Prompt(prompt.ids[:2]), fields)


def test_a_slot_that_merges_with_the_text_around_it_is_told():
    tokenizer = tokenizer_of("roberta")
    template = Template("{prompt:1} {text}{prompt:1} {mask}")
    letter = prompt_of(tokenizer, template, " so||m")
    assert not retokenizes(tokenizer, template, letter, {"text": "a fil"})
    assert retokenizes(tokenizer, template, letter, {"text": "a film ("})
