"""Tiny LMs: quiet, seeded, save and load, and the packed families really take packed rows."""

import json
import subprocess
import sys

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlprompt.core.errors import ConfigError
from rlprompt.testing import (
    CAUSAL_FAMILIES,
    COMMON_WORDS,
    PACKED_FAMILIES,
    UNPACKED_FAMILIES,
    save_tiny,
    tiny_causal,
    tiny_tokenizer,
)

TEXT = "The film was  good; unquestionably café! ☃"


def _logits(model, ids, **kwargs):
    with torch.no_grad():
        return model(torch.tensor([ids]), **kwargs).logits[0]


def test_importing_loads_neither_torch_nor_transformers():
    code = (
        "import sys, rlprompt.testing; "
        "print([m for m in ('torch', 'transformers', 'tokenizers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_words_are_single_tokens():
    tokenizer = tiny_tokenizer()
    for word in COMMON_WORDS:
        assert tokenizer.tokenize(f" {word}") == [f"Ġ{word}"]
    assert tokenizer.tokenize("The movie")[0] == "The"
    whole = tokenizer.convert_tokens_to_ids([f"Ġ{word}" for word in COMMON_WORDS])
    assert whole == sorted(whole)


@pytest.mark.parametrize("bos", [False, True])
def test_tokenizer_round_trips_any_text(bos):
    tokenizer = tiny_tokenizer(bos=bos)
    ids = tokenizer(TEXT, add_special_tokens=False).input_ids
    assert tokenizer.decode(ids) == TEXT
    assert tokenizer(TEXT).input_ids == [1] * bos + ids
    assert set(tokenizer.all_special_ids) == {0, 1} if bos else {0}


def test_tokenizer_has_sequences_that_no_text_encodes_to():
    tokenizer = tiny_tokenizer()
    ids = tokenizer.convert_tokens_to_ids(["Ġgoo", "d"])
    again = tokenizer(tokenizer.decode(ids)).input_ids
    assert tokenizer.convert_ids_to_tokens(again) == ["Ġgood"]


def test_tokenizer_takes_other_words_and_refuses_other_kinds():
    assert tiny_tokenizer(["zyzzyva"]).tokenize(" zyzzyva") == ["Ġzyzzyva"]
    with pytest.raises(ConfigError, match="byte-bpe"):
        tiny_tokenizer(kind="unigram")


def test_families():
    assert set(PACKED_FAMILIES).isdisjoint(UNPACKED_FAMILIES)
    assert set(CAUSAL_FAMILIES) == {*PACKED_FAMILIES, *UNPACKED_FAMILIES}
    with pytest.raises(ConfigError, match="Did you mean 'llama'"):
        tiny_causal("lama")


@pytest.mark.parametrize("family", CAUSAL_FAMILIES)
def test_family(family, tmp_path):
    torch.manual_seed(7)
    state = torch.get_rng_state()
    model, tokenizer = tiny_causal(family)
    assert torch.equal(state, torch.get_rng_state())
    assert not model.training
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert all(p.abs().sum(dim=-1).min() > 0 for p in model.get_input_embeddings().parameters())

    ids = tokenizer(TEXT).input_ids
    logits = _logits(model, ids)
    assert logits.shape == (len(ids), len(tokenizer))
    assert torch.equal(logits, _logits(tiny_causal(family)[0], ids))
    assert not torch.allclose(logits, _logits(tiny_causal(family, seed=1)[0], ids), atol=0.1)

    folder = save_tiny(tmp_path / "sub" / family, family)
    assert (folder / "model.safetensors").is_file()
    assert json.loads((folder / "config.json").read_text())["model_type"] == family
    loaded = AutoModelForCausalLM.from_pretrained(folder)
    loaded_tokenizer = AutoTokenizer.from_pretrained(folder)
    assert torch.equal(_logits(loaded, ids), logits)
    assert loaded_tokenizer(TEXT).input_ids == ids
    assert (
        loaded_tokenizer.decode(loaded_tokenizer(TEXT, add_special_tokens=False).input_ids) == TEXT
    )


@pytest.mark.parametrize("family", CAUSAL_FAMILIES)
def test_prompts_give_different_scores(family):
    model, tokenizer = tiny_causal(family)
    good, bad = tokenizer.convert_tokens_to_ids(["Ġgood", "Ġbad"])
    batch = tokenizer([f"The film was {word}" for word in COMMON_WORDS[:40]], return_tensors="pt")
    with torch.no_grad():
        last = model(batch.input_ids).logits[:, -1]
    margins = last[:, good] - last[:, bad]
    assert margins.std() > 0.2


def _packed_gap(family):
    """Packs two prompts behind one text; greatest difference to one row each, in log-odds."""
    model, tokenizer = tiny_causal(family)
    text = tokenizer("The film was long and the script was not good at all, and").input_ids
    prompts = [
        tokenizer(prompt, add_special_tokens=False).input_ids
        for prompt in (" it is a sad story", " overall truly")
    ]
    block = torch.tensor([0] * len(text) + [1] * len(prompts[0]) + [2] * len(prompts[1]))
    own = (block[:, None] == block[None, :]) | (block[None, :] == 0)
    mask = own & torch.ones(len(block), len(block)).tril().bool()
    positions = [*range(len(text))]
    for prompt in prompts:
        positions += range(len(text), len(text) + len(prompt))
    packed = _logits(
        model,
        text + prompts[0] + prompts[1],
        attention_mask=torch.where(mask, 0.0, torch.finfo(torch.float32).min)[None, None],
        position_ids=torch.tensor([positions]),
    ).log_softmax(-1)
    ends = (len(text) + len(prompts[0]) - 1, len(block) - 1)
    return max(
        float((packed[end] - _logits(model, text + prompt)[-1].log_softmax(-1)).abs().max())
        for end, prompt in zip(ends, prompts, strict=True)
    )


@pytest.mark.parametrize("family", PACKED_FAMILIES)
def test_packed_families_take_a_packed_row(family):
    assert _packed_gap(family) < 1e-4


def test_a_packed_row_ignores_the_sliding_window():
    assert _packed_gap("mistral") > 1e-2
