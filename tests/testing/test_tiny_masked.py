"""Tiny masked LMs: quiet, seeded, save and load, with the tokenizer types of the real ones."""

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from rlprompt.core.errors import ConfigError
from rlprompt.testing import COMMON_WORDS, MASKED_FAMILIES, save_tiny, tiny_masked

TEXT = "The film was  good; unquestionably it was"


def _logits(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0]


def test_unknown_families_are_refused():
    with pytest.raises(ConfigError, match="Did you mean 'roberta'"):
        tiny_masked("robert")


@pytest.mark.parametrize("family", MASKED_FAMILIES)
def test_family(family, tmp_path):
    torch.manual_seed(7)
    state = torch.get_rng_state()
    model, tokenizer = tiny_masked(family)
    assert torch.equal(state, torch.get_rng_state())
    assert not model.training
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert model.config.model_type == family

    ids = tokenizer(f"{TEXT} {tokenizer.mask_token}.").input_ids
    assert ids.count(tokenizer.mask_token_id) == 1
    logits = _logits(model, ids)
    assert logits.shape == (len(ids), len(tokenizer))
    assert torch.equal(logits, _logits(tiny_masked(family)[0], ids))
    assert not torch.allclose(logits, _logits(tiny_masked(family, seed=1)[0], ids), atol=0.1)

    folder = save_tiny(tmp_path / "sub" / family, family)
    loaded, info = AutoModelForMaskedLM.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert torch.equal(_logits(loaded, ids), logits)
    again = AutoTokenizer.from_pretrained(folder)
    assert type(again) is type(tokenizer) or family == "modernbert"
    assert again(f"{TEXT} {tokenizer.mask_token}.").input_ids == ids


@pytest.mark.parametrize("family", MASKED_FAMILIES)
def test_words_are_single_tokens(family):
    _, tokenizer = tiny_masked(family)
    for word in COMMON_WORDS:
        assert len(tokenizer.tokenize(f" {word}")) == 1


@pytest.mark.parametrize("family", MASKED_FAMILIES)
def test_prompts_give_different_scores(family):
    model, tokenizer = tiny_masked(family)
    good, bad = (tokenizer.encode(f" {w}", add_special_tokens=False)[0] for w in ("good", "bad"))
    margins = []
    for word in COMMON_WORDS[:40]:
        ids = tokenizer(f"It was {word} {tokenizer.mask_token}").input_ids
        logits = _logits(model, ids)[ids.index(tokenizer.mask_token_id)]
        margins.append(float(logits[good] - logits[bad]))
    assert torch.tensor(margins).std() > 0.1
