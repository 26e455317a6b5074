"""Tiny encoder-decoder LMs: quiet, seeded, save and load, tokenizers like the real ones."""

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from rlprompt.core.errors import ConfigError
from rlprompt.testing import COMMON_WORDS, SEQ2SEQ_FAMILIES, save_tiny, tiny_seq2seq


def _logits(model, ids):
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), decoder_input_ids=torch.tensor([ids])).logits


@pytest.mark.parametrize("family", SEQ2SEQ_FAMILIES)
def test_family(family, tmp_path):
    torch.manual_seed(7)
    state = torch.get_rng_state()
    model, tokenizer = tiny_seq2seq(family)
    assert torch.equal(state, torch.get_rng_state())
    assert not model.training
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert model.get_input_embeddings().weight.shape[0] > len(tokenizer)
    assert (model.get_output_embeddings().weight is model.get_input_embeddings().weight) == (
        family != "t5-v1.1"
    )

    ids = tokenizer("The film was  good; unquestionably so!").input_ids
    logits = _logits(model, ids)
    assert torch.equal(logits, _logits(tiny_seq2seq(family)[0], ids))
    assert not torch.allclose(logits, _logits(tiny_seq2seq(family, seed=1)[0], ids), atol=0.1)

    save_tiny(tmp_path, family)
    assert torch.equal(_logits(AutoModelForSeq2SeqLM.from_pretrained(tmp_path), ids), logits)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    for text in ("It was <mask>, a  film", "<extra_id_0> good <extra_id_3>", "café ☃"):
        assert loaded(text).input_ids == tokenizer(text).input_ids


def test_unknown_family():
    with pytest.raises(ConfigError, match=r"Did you mean 'bart'"):
        tiny_seq2seq("barrt")


def test_words_are_single_tokens():
    for family, mark in (("t5", "▁"), ("bart", "Ġ")):
        _, tokenizer = tiny_seq2seq(family)
        for word in COMMON_WORDS:
            assert tokenizer.tokenize(f" {word}") == [f"{mark}{word}"]
    for word in ("bad", "good", "terrible", "great", "negative", "positive", "no", "yes"):
        assert tokenizer.tokenize(word) == [word]


def test_the_unigram_tokenizer_is_t5s():
    _, tokenizer = tiny_seq2seq("t5")
    assert tokenizer.tokenize("A film\n , a  ☃<extra_id_0>good") == [
        *("▁A", "▁film", "▁", ",", "▁a", "▁", "☃", "<extra_id_0>", "▁good")
    ]
    ids = tokenizer("a ☃").input_ids
    assert ids[-2:] == [tokenizer.unk_token_id, tokenizer.eos_token_id]


def test_the_byte_bpe_tokenizer_is_barts():
    _, tokenizer = tiny_seq2seq("bart")
    text = "The film was fine, ☃!"
    ids = tokenizer(text).input_ids
    assert (ids[0], ids[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
    assert tokenizer.decode(ids[1:-1]) == text
    ids = tokenizer("It was <mask> .").input_ids
    pieces = ["<s>", "It", "Ġwas", "<mask>", "Ġ", ".", "</s>"]
    assert tokenizer.convert_ids_to_tokens(ids) == pieces


@pytest.mark.parametrize("family", SEQ2SEQ_FAMILIES)
def test_prompts_give_different_scores(family):
    model, tokenizer = tiny_seq2seq(family)
    good, bad = (tokenizer(f" {w}", add_special_tokens=False).input_ids for w in ("good", "bad"))
    start = torch.tensor([[model.config.decoder_start_token_id]])
    margins = []
    for word in COMMON_WORDS[:40]:
        ids = torch.tensor([tokenizer(f"The film was {word}").input_ids])
        with torch.no_grad():
            logits = model(input_ids=ids, decoder_input_ids=start).logits[0, 0]
        margins.append(logits[good[0]] - logits[bad[0]])
    assert torch.stack(margins).std() > 0.1
