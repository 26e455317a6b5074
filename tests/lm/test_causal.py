"""Every way of scoring gives what one forward of one example with one prompt gives."""

import hashlib
import logging

import numpy as np
import pytest
from transformers import AutoConfig, AutoModelForCausalLM

from rlprompt.core.errors import DataError, TemplateError
from rlprompt.core.prompt import Prompt
from rlprompt.lm.causal import CausalLM
from rlprompt.lm.causal_scorers import AfterInputScorer, BeforeInputScorer, PlainScorer
from rlprompt.tasks.examples import Example
from rlprompt.tasks.template import Template
from rlprompt.tasks.verbalizer import Verbalizer
from rlprompt.testing import (
    CAUSAL_FAMILIES,
    PACKED_FAMILIES,
    UNPACKED_FAMILIES,
    check_blind_to_labels,
    check_embeddings,
    check_scorer,
    tiny_causal,
)

TEMPLATE = Template("{text}{prompt}")


@pytest.mark.parametrize("family", CAUSAL_FAMILIES)
def test_plain_scores_are_those_of_single_forwards(
    family, source, make_lm, tiny, examples, prompts, mixed, reference
):
    scorer = make_lm(family).plain(Template(source), mixed, examples[1:4], max_prompt_tokens=6)
    asked = [prompts[0], prompts[2]]
    expected = [
        [reference(*tiny(family), source, mixed, e.fields, p) for e in examples[1:4]] for p in asked
    ]
    assert scorer.truncated == 0
    np.testing.assert_allclose(scorer.choice_logprobs(asked), expected, atol=1e-4)


@pytest.mark.parametrize("family", PACKED_FAMILIES)
def test_packed_scores_are_the_plain_ones(family, source, verbalizer, make_lm, examples, prompts):
    lm, template = make_lm(family), Template(source)
    scorer = lm.bind(template, verbalizer, examples, max_prompt_tokens=6)
    before_input = source.startswith("{prompt}")
    assert isinstance(scorer, BeforeInputScorer if before_input else AfterInputScorer)
    plain = lm.plain(template, verbalizer, examples, max_prompt_tokens=6)
    assert isinstance(plain, PlainScorer)
    expected = plain.choice_logprobs(prompts)
    np.testing.assert_allclose(scorer.choice_logprobs(prompts), expected, atol=1e-4)
    single = lm.bind(template, verbalizer, examples[:1], max_prompt_tokens=6)
    np.testing.assert_allclose(single.choice_logprobs(prompts[:1]), expected[:1, :1], atol=1e-4)


@pytest.mark.parametrize("family", PACKED_FAMILIES)
def test_prefixes_are_free_where_one_token_answers_follow_the_prompt(
    family, make_lm, examples, prompts, one_token, mixed
):
    lm = make_lm(family)
    scorer = lm.bind(TEMPLATE, one_token, examples, max_prompt_tokens=6)
    assert scorer.prefixes_are_free
    for prompt, rows in zip(prompts, scorer.prefix_logprobs(prompts), strict=True):
        assert rows.shape == (len(prompt), len(examples), 2)
        if prompt:
            expected = scorer.choice_logprobs(prompt.prefixes())
            np.testing.assert_allclose(rows, expected, atol=1e-5)
    for template, verbalizer in (
        (TEMPLATE, mixed),
        (Template("{text}{prompt}:"), one_token),
        (Template("{prompt} {text}"), one_token),
    ):
        other = lm.bind(template, verbalizer, examples, max_prompt_tokens=6)
        assert not other.prefixes_are_free
        with pytest.raises(ValueError, match="Prefix scores are free only"):
            other.prefix_logprobs(prompts)


@pytest.mark.parametrize("family", UNPACKED_FAMILIES)
def test_families_that_cannot_pack_say_so_and_are_right(
    family, tiny, make_lm, examples, prompts, one_token, reference, caplog
):
    lm = make_lm(family, name=f"a {family}")
    with caplog.at_level(logging.WARNING):
        scorer = lm.bind(TEMPLATE, one_token, examples[:3], max_prompt_tokens=6)
    assert isinstance(scorer, PlainScorer)
    assert not scorer.prefixes_are_free
    (message,) = [r.getMessage() for r in caplog.records if r.name == "rlprompt.lm.causal"]
    # Mistral's window of 8 tokens is shorter than the probe.
    reason = {"mistral": "scores differ by", "bloom": "", "mamba": "RuntimeError: "}[family]
    assert message.startswith(f"a {family} (")
    assert reason in message
    assert message.endswith("scoring the plain, slower way.")
    expected = reference(*tiny(family), TEMPLATE.source, one_token, examples[1].fields, prompts[2])
    np.testing.assert_allclose(scorer.choice_logprobs(prompts)[2, 1], expected, atol=1e-4)


def test_only_inputs_within_the_sliding_window_are_packed(examples, one_token, prompts, caplog):
    model, tokenizer = tiny_causal("mistral")
    model.config.sliding_window = 24
    lm = CausalLM(model, tokenizer, name="windowed")
    asked = [prompts[1], prompts[2], Prompt()] * 12
    for given, kind in ((examples[2:6], AfterInputScorer), (examples, PlainScorer)):
        scorer = lm.bind(TEMPLATE, one_token, given, max_prompt_tokens=4)
        assert isinstance(scorer, kind)
        plain = lm.plain(TEMPLATE, one_token, given, max_prompt_tokens=4)
        np.testing.assert_allclose(
            scorer.choice_logprobs(asked), plain.choice_logprobs(asked), atol=1e-4
        )
    assert "window of 24 tokens, inputs have up to" in caplog.text


def test_local_attention_by_place_in_the_row_is_never_packed(tiny, examples, one_token, caplog):
    # GPT-Neo's window is 256 tokens; a packed row would be cut where a plain one is not.
    _, tokenizer = tiny("gpt2")
    config = AutoConfig.for_model(
        "gpt_neo",
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_layers=2,
        num_heads=4,
        attention_types=[[["global", "local"], 1]],
        window_size=64,
        max_position_embeddings=128,
        bos_token_id=0,
        eos_token_id=0,
    )
    lm = CausalLM(AutoModelForCausalLM.from_config(config), tokenizer)
    scorer = lm.bind(TEMPLATE, one_token, examples, max_prompt_tokens=6)
    assert isinstance(scorer, PlainScorer)
    assert "local attention" in caplog.text


def _weights(model):
    return {
        name: hashlib.sha256(tensor.numpy().tobytes()).hexdigest()
        for name, tensor in model.state_dict().items()
    }


@pytest.mark.parametrize("family", CAUSAL_FAMILIES)
def test_every_family_conforms_and_stays_frozen(family, make_lm, tiny, examples, prompts, mixed):
    lm, (model, _) = make_lm(family), tiny(family)
    before = _weights(model)
    check_scorer(lm, TEMPLATE, mixed, examples[:3], prompts[1:3])
    check_blind_to_labels(lm, TEMPLATE, mixed, examples[:3], prompts[1:3])
    check_embeddings(lm, [5, 300, 7])
    assert _weights(model) == before
    assert not model.training
    assert not any(p.requires_grad or p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_one_token_answers_before_the_input_conform(family, make_lm, examples, prompts, one_token):
    check_scorer(make_lm(family), TEMPLATE, one_token, examples[:3], prompts[1:4])
    check_scorer(
        make_lm(family), Template("{prompt} {text}"), one_token, examples[:3], prompts[1:4]
    )


def test_an_empty_text_is_scored_wherever_something_stands_before_the_answer(
    make_lm, one_token, prompts
):
    empty = [Example({"text": ""}, 0), Example({"text": "fine"}, 1)]
    for lm, template in (
        (make_lm("llama"), TEMPLATE),
        (make_lm("gpt2"), Template("Text: {text}{prompt}")),
    ):
        scorer = lm.bind(template, one_token, empty, max_prompt_tokens=6)
        assert isinstance(scorer, AfterInputScorer)
        plain = lm.plain(template, one_token, empty, max_prompt_tokens=6)
        np.testing.assert_allclose(
            scorer.choice_logprobs(prompts), plain.choice_logprobs(prompts), atol=1e-4
        )
    with pytest.raises(DataError, match="answer after nothing"):
        make_lm("gpt2").bind(TEMPLATE, one_token, empty, max_prompt_tokens=6)


def test_no_prompts_give_no_scores(make_lm, examples, one_token):
    for template in (TEMPLATE, Template("{prompt}{text}")):
        for bind in (make_lm("gpt2").bind, make_lm("gpt2").plain):
            scorer = bind(template, one_token, examples, max_prompt_tokens=6)
            assert scorer.choice_logprobs([]).shape == (0, len(examples), 2)


def test_a_single_slot_may_have_a_size(make_lm, examples, prompts, one_token):
    with_size, without = (
        make_lm("gpt2").bind(Template(source), one_token, examples, max_prompt_tokens=6)
        for source in ("{text}{prompt:6}", "{text}{prompt}")
    )
    expected = without.choice_logprobs(prompts)
    np.testing.assert_array_equal(with_size.choice_logprobs(prompts), expected)


@pytest.mark.parametrize(
    ("source", "words", "message"),
    [
        ("{text}{prompt}{mask}", ("bad", "good"), r"has \{mask\}.*write '\{text\}\{prompt\}'"),
        (
            "{prompt:2} {text} {prompt:3} {mask}.",
            ("bad", "good"),
            r"has 2 slots .* a causal LM takes one: write e.g. '\{text\} \{prompt\}'",
        ),
        (
            "{text}: {prompt:1}{prompt:2}",
            ("bad", "good"),
            r"has 2 slots .* a causal LM takes one: write e.g. '\{text\}:\{prompt\}'",
        ),
        (
            "{prompt:1} {mask} {text} {prompt:1}",
            ("bad", "good"),
            r"write e.g. '\{text\}\{prompt\}'",
        ),
        ("{text}{prompt}: ", ("bad", "good"), r"ends with a space.*write '\{text\}\{prompt\}:'"),
        ("{txt}{prompt}", ("bad", "good"), "asks for {txt}.*Did you mean 'text'"),
        ("{text}{prompt}", ("bad", "<|endoftext|>"), "does not know the label word"),
    ],
)
def test_templates_and_words_that_do_not_suit_are_refused(
    source, words, message, make_lm, examples
):
    verbalizer = Verbalizer(tuple((word,) for word in words))
    with pytest.raises(TemplateError, match=message):
        make_lm("gpt2").bind(Template(source), verbalizer, examples, max_prompt_tokens=2)


def test_the_meter_counts_real_tokens_only(make_lm, tiny, examples, one_token):
    lm = make_lm("gpt2", name="metered")
    plain = lm.plain(TEMPLATE, one_token, examples, max_prompt_tokens=2)
    before = lm.meter.tokens
    plain.choice_logprobs([Prompt((300, 301)), Prompt((302,))])
    _, tokenizer = tiny("gpt2")
    texts = sum(len(tokenizer.encode(e.fields["text"])) for e in examples)
    assert lm.meter.tokens - before == 2 * texts + 3 * len(examples)
    packed = lm.bind(TEMPLATE, one_token, examples, max_prompt_tokens=2)
    packed.choice_logprobs([Prompt((300, 301))])
    before = lm.meter.tokens
    packed.choice_logprobs([Prompt((300, 301)), Prompt((302,))])
    assert lm.meter.tokens - before == 3 * len(examples)
    assert lm.meter.seconds > 0
