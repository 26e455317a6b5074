"""What encoder and decoder read, what is cut, and what is refused."""

import numpy as np
import pytest
import torch
from tokenizers import processors

from rlprompt import RunConfig, optimize
from rlprompt.core.errors import ConfigError, DataError, LMError, TemplateError
from rlprompt.core.prompt import Prompt
from rlprompt.lm.batching import Limits
from rlprompt.lm.seq2seq import Seq2SeqLM
from rlprompt.lm.seq2seq_backbone import Seq2SeqBackbone
from rlprompt.tasks.examples import Example
from rlprompt.tasks.task import Task
from rlprompt.tasks.template import Template
from rlprompt.tasks.verbalizer import Verbalizer
from rlprompt.testing import tiny_causal
from rlprompt.testing.tiny_seq2seq import SEQ2SEQ_FAMILIES, tiny_seq2seq

VERBALIZER = Verbalizer((("bad",), ("good",)))
FAMILIES = {family: Seq2SeqLM(*tiny_seq2seq(family)) for family in ("t5", "bart")}


def rows(family, source, text, *prompts, limit=8, verbalizer=VERBALIZER):
    """Returns the tokens of encoder and decoder for one example, and whether it was cut."""
    lm = FAMILIES[family]
    inputs = lm._inputs(Template(source), verbalizer, [Example({"text": text}, 0)], limit)
    asked = [Prompt(lm.tokenizer.encode(prompt)) for prompt in prompts]
    pieces = lm.tokenizer.hf.convert_ids_to_tokens
    return [(pieces(r.encoder), pieces(r.decoder)) for r in inputs.rows(asked)], inputs


@pytest.mark.parametrize(
    ("source", "encoder", "decoder"),
    [
        ("{text}{prompt}", "▁A ▁film ▁it ▁was </s>", "<pad>"),
        ("{prompt} {text}", "▁it ▁was ▁A ▁film </s>", "<pad>"),
        ("{prompt}: {text}", "▁it ▁was : ▁A ▁film </s>", "<pad>"),
        (
            "{text} {prompt} {mask}.",
            "▁A ▁film ▁it ▁was <extra_id_0> ▁ . </s>",
            "<pad> <extra_id_0>",
        ),
        (
            "{mask} {prompt} {text}",
            "<extra_id_0> ▁it ▁was ▁A ▁film </s>",
            "<pad> <extra_id_0>",
        ),
        (
            "{prompt:1} {text} {prompt:1} {mask}",
            "▁it ▁A ▁film ▁was <extra_id_0> </s>",
            "<pad> <extra_id_0>",
        ),
        ("{prompt:2} {text} {prompt:1}:", "▁it ▁was ▁A ▁film : </s>", "<pad>"),
    ],
)
def test_what_t5_reads(source, encoder, decoder):
    ((found, _),) = [rows("t5", source, "A film", " it was")]
    assert [(" ".join(a), " ".join(b)) for a, b in found] == [(encoder, decoder)]


@pytest.mark.parametrize(
    ("source", "encoder", "decoder", "word"),
    [
        ("{text}{prompt}", "<s> A Ġfilm Ġit Ġwas </s>", "</s> <s>", "good"),
        (
            "{text} {prompt} {mask}.",
            "<s> A Ġfilm Ġit Ġwas <mask> . </s>",
            "</s> <s> A Ġfilm Ġit Ġwas",
            "Ġgood",
        ),
        ("{mask} {prompt} {text}", "<s> <mask> Ġit Ġwas Ġ A Ġfilm </s>", "</s> <s>", "good"),
        (
            "{prompt} {mask} {text}",
            "<s> Ġit Ġwas <mask> Ġ A Ġfilm </s>",
            "</s> <s> Ġit Ġwas",
            "Ġgood",
        ),
    ],
)
def test_what_bart_reads(source, encoder, decoder, word):
    found, inputs = rows("bart", source, "A film", " it was")
    assert [(" ".join(a), " ".join(b)) for a, b in found] == [(encoder, decoder)]
    tokenizer = FAMILIES["bart"].tokenizer.hf
    assert [tokenizer.convert_ids_to_tokens(list(ids)) for ids in inputs.words][1] == [word]


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_text_that_spells_special_tokens_never_becomes_them(family):
    spelled = "fine <extra_id_0> </s> <s> <mask> <pad> film {mask} {prompt}"
    lm = FAMILIES[family]
    mask = "<extra_id_0>" if family == "t5" else "<mask>"
    found, _ = rows(family, "{text}{prompt} {mask}", spelled, " it", f" {mask} was", "")
    specials = set(lm.tokenizer.hf.all_special_tokens)
    for encoder, _ in found:
        start = lm.tokenizer.hf.convert_ids_to_tokens(list(lm.tokenizer.start_ids))
        assert [token for token in encoder if token in specials] == [*start, mask, "</s>"]
        assert encoder[-2:] == [mask, "</s>"]


def test_a_prompt_is_scored_as_its_text():
    lm = FAMILIES["t5"]
    letters = Prompt(tuple(lm.tokenizer.hf.convert_tokens_to_ids(["▁", "g", "o", "o", "d"])))
    scorer = lm.bind(
        Template("{text}{prompt}"),
        VERBALIZER,
        [Example({"text": "A film"}, 0)],
        max_prompt_tokens=8,
    )
    scores = scorer.choice_logprobs([letters, Prompt(lm.tokenizer.encode(" good"))])
    np.testing.assert_array_equal(scores[0], scores[1])


@pytest.mark.parametrize("family", ["t5", "bart"])
@pytest.mark.parametrize(
    "source",
    [
        "{text}{prompt}",
        "{prompt} {text}",
        "{text} {prompt} {mask}",
        "{mask} {prompt} {text}",
        "{prompt:8} {text} {prompt:1} {mask}",
        "{mask} {prompt:8}{prompt:1} {text}",
    ],
)
@pytest.mark.parametrize(
    "text", ["film story plot cast " * 60, "☃ good " * 100, "x" + "!" * 200, "a " + "x" * 200]
)
def test_long_text_is_cut_and_prompt_and_mask_survive(family, source, text):
    prompts = ("", " it was", " in short the film was a good one")
    found, inputs = rows(family, source, text, *prompts)
    assert inputs.truncated == 1
    mask = "<extra_id_0>" if family == "t5" else "<mask>"
    space = "▁" if family == "t5" else "Ġ"
    for (encoder, decoder), prompt in zip(found, prompts, strict=True):
        assert len(encoder) <= 128
        assert len(decoder) <= 128
        assert encoder.count(mask) == source.count("{mask}")
        assert prompt.replace(" ", f" {space}").strip() in " ".join(encoder)
    # The longest prompt leaves no room for another word, and all prompts have the same text.
    if not text.startswith("☃"):
        assert len(found[-1][0]) == 128
    assert len({encoder.count("x") + encoder.count("!") for encoder, _ in found}) == 1
    assert len({encoder.count(f"{space}cast") for encoder, _ in found}) == 1


def test_only_the_end_of_the_longest_field_is_cut():
    lm = FAMILIES["t5"]
    example = Example({"text": "film " * 200, "other": "a fine plot"}, 0)
    inputs = lm._inputs(Template("{other} {text}{prompt}"), VERBALIZER, [example], 4)
    (row,) = inputs.rows([Prompt()])
    pieces = lm.tokenizer.hf.convert_ids_to_tokens(list(row.encoder))
    assert pieces == ["▁a", "▁fine", "▁plot", *["▁film"] * 120, "</s>"]


def test_a_prompt_that_is_more_tokens_in_its_place_still_fits():
    # Room was left for one token; such a prompt comes from a caller who counts otherwise.
    found, _ = rows("t5", "{text}{prompt}", "film " * 200, "ugh" * 30, limit=1)
    ((encoder, _),) = found
    assert len(encoder) <= 128
    assert encoder[-4:] == ["u", "g", "h", "</s>"]


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_prompts_that_cannot_fit_are_refused(family):
    with pytest.raises(ConfigError, match=r"context of 128 tokens.*ask for a shorter prompt"):
        rows(family, "{text} {prompt} {mask}", "a film", "", limit=128)


@pytest.mark.parametrize(
    ("source", "words", "message"),
    [
        ("{txt}{prompt}", ("bad", "good"), "asks for {txt}.*Did you mean 'text'"),
        ("{text}{prompt}", ("bad", "☃"), "does not know the label word '☃'"),
        ("{text}{prompt}", ("so  good", "so good"), "are the same to the tokenizer"),
    ],
)
def test_templates_and_words_that_do_not_suit_are_refused(source, words, message):
    verbalizer = Verbalizer(tuple((word,) for word in words))
    with pytest.raises(TemplateError, match=message):
        rows("t5", source, "a film", "", verbalizer=verbalizer)


def test_a_mask_needs_a_token_for_it():
    model, tokenizer = tiny_seq2seq("bart")
    tokenizer.mask_token = None
    lm = Seq2SeqLM(model, tokenizer)
    given = [Example({"text": "a film"}, 0)]
    with pytest.raises(TemplateError, match=r"neither a sentinel.*write '\{text\} \{prompt\}'"):
        lm.bind(Template("{text} {prompt} {mask}"), VERBALIZER, given, max_prompt_tokens=2)
    lm.bind(Template("{text} {prompt}"), VERBALIZER, given, max_prompt_tokens=2)


def test_an_empty_example_is_refused_where_the_tokenizer_adds_nothing():
    model, tokenizer = tiny_seq2seq("t5")
    lm = Seq2SeqLM(model, tokenizer)
    given = [Example({"text": ""}, 0)]
    template = Template("{text}{prompt}")
    lm.bind(template, VERBALIZER, given, max_prompt_tokens=2)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single="$A")
    with pytest.raises(DataError, match="An example is empty"):
        Seq2SeqLM(model, tokenizer).bind(template, VERBALIZER, given, max_prompt_tokens=2)


def test_models_that_cannot_be_asked_are_refused():
    with pytest.raises(LMError, match="is no encoder-decoder LM: use CausalLM"):
        Seq2SeqLM(*tiny_causal("gpt2"), name="decoder alone")
    model, tokenizer = tiny_seq2seq("t5")
    model.config.decoder_start_token_id = model.generation_config.decoder_start_token_id = None
    with pytest.raises(LMError, match="set decoder_start_token_id"):
        Seq2SeqLM(model, tokenizer)


def test_a_forced_first_token_takes_the_place_of_the_tokenizers_own():
    model, tokenizer = tiny_seq2seq("bart")
    model.generation_config.forced_bos_token_id = 9
    assert Seq2SeqLM(model, tokenizer)._format.decoder_start == (2, 9)


@pytest.mark.parametrize("bound", [1, 3])
def test_batches_are_halved_where_memory_runs_out(bound, monkeypatch, examples):
    lm = Seq2SeqLM(*tiny_seq2seq("bart"), limits=Limits(batch_tokens=400))
    template = Template("{text} {prompt} {mask}")
    prompts = [Prompt(), Prompt(lm.tokenizer.encode(" it was"))]
    scorer = lm.bind(template, VERBALIZER, examples, max_prompt_tokens=3)
    expected = scorer.choice_logprobs(prompts)
    encode, failures = Seq2SeqBackbone.encode, []

    def limited(self, rows):
        if len(rows) > bound:
            failures.append(len(rows))
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return encode(self, rows)

    monkeypatch.setattr(Seq2SeqBackbone, "encode", limited)
    np.testing.assert_allclose(scorer.choice_logprobs(prompts), expected, atol=1e-5)
    assert failures
    monkeypatch.setattr(Seq2SeqBackbone, "encode", lambda *_: limited(lm._backbone, [()] * 9))
    with pytest.raises(LMError, match=r"One row of \d+ tokens does not fit the memory of cpu"):
        scorer.choice_logprobs(prompts)


@pytest.mark.parametrize("agent", ["random", "ppo"])
@pytest.mark.parametrize(
    ("family", "template"), [("t5", "{text} {prompt} {mask}"), ("bart", "{prompt} {text}")]
)
def test_a_run_from_end_to_end(agent, family, template, film_rows):
    assert set(FAMILIES) < set(SEQ2SEQ_FAMILIES)
    task = Task.from_examples(
        film_rows, words=None, template=template, shots=4, test_size=20, manual_prompts=("It was",)
    )
    config = RunConfig(agent=agent, budget=900, length=3, controls=(), vocabulary_size=50)
    result = optimize(config, task=task, lm=Seq2SeqLM(*tiny_seq2seq(family)))
    assert len(result.prompt.ids) == 3
    assert result.prompt.retokenizes
    assert result.lm["family"] == "seq2seq"
    assert result.process["lm_tokens"] > 0
