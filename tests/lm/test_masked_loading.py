"""A folder says itself which family of LMs it holds."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BertConfig, BertModel

from rlprompt.core.errors import ConfigError, LMError
from rlprompt.core.prompt import Prompt
from rlprompt.lm.causal import CausalLM
from rlprompt.lm.families import family_of
from rlprompt.lm.linear import PackedLinear
from rlprompt.lm.loading import LMConfig, load_lm
from rlprompt.lm.masked import MaskedLM
from rlprompt.lm.masked_forward import HeadAtMasks
from rlprompt.tasks.template import Template
from rlprompt.testing import MASKED_FAMILIES, save_tiny, tiny_masked

TEMPLATE = Template("{text} {prompt} {mask} .")


def _load(folder, **settings):
    return load_lm(LMConfig(str(folder), device="cpu", **settings))


@pytest.mark.parametrize("family", MASKED_FAMILIES)
def test_a_loaded_lm_scores_as_the_one_that_was_saved(family, tmp_path, examples, mixed, capfd):
    saved = save_tiny(tmp_path / family, family)
    capfd.readouterr()
    lm = _load(saved)
    assert capfd.readouterr() == ("", "")
    assert isinstance(lm, MaskedLM)
    assert (lm.identity.family, lm.identity.name) == ("masked", str(saved))
    assert lm.context == 128
    asked = [Prompt(), Prompt((300,)), Prompt((301, 302, 303))]
    scores = [
        each.bind(TEMPLATE, mixed, examples, max_prompt_tokens=3).choice_logprobs(asked)
        for each in (lm, MaskedLM(*tiny_masked(family)))
    ]
    np.testing.assert_allclose(*scores, atol=1e-4)
    assert isinstance(lm._forward, HeadAtMasks)
    layers = [m for m in lm.model.modules() if type(m) is torch.nn.Linear]
    assert layers == [lm.model.get_output_embeddings()]
    assert any(isinstance(m, PackedLinear) for m in lm.model.modules())
    assert not any(p.requires_grad for p in lm.model.parameters())
    assert _load(saved).identity.fingerprint == lm.identity.fingerprint


def _config(model_type, architectures, **more):
    config = BertConfig(**more)
    config.model_type, config.architectures = model_type, architectures
    return config


@pytest.mark.parametrize(
    ("model_type", "architectures", "more", "family"),
    [
        ("bert", ["BertForMaskedLM"], {}, "masked"),
        ("bert", ["BertLMHeadModel"], {}, "causal"),
        ("bert", None, {}, "masked"),
        ("bert", None, {"is_decoder": True}, "causal"),
        ("bert", ["BertModel"], {}, "masked"),
        ("llama", ["LlamaForCausalLM"], {}, "causal"),
        ("llama", None, {}, "causal"),
        ("bart", ["BartForConditionalGeneration"], {"is_encoder_decoder": True}, "seq2seq"),
        ("own", ["Own"], {"auto_map": {"AutoModelForMaskedLM": "own.Own"}}, "masked"),
        ("own", ["Own"], {"auto_map": {"AutoModelForCausalLM": "own.Own"}}, "causal"),
        ("own", ["Own"], {}, "causal"),
    ],
)
def test_the_checkpoint_says_its_family(model_type, architectures, more, family):
    assert family_of(_config(model_type, architectures, **more)) == family


def test_a_family_can_be_asked_for(tmp_path):
    _, tokenizer = tiny_masked("bert")
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=4,
        is_decoder=True,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert isinstance(_load(tmp_path), CausalLM)
    assert isinstance(_load(tmp_path, family="masked"), MaskedLM)
    with pytest.raises(ConfigError, match=r"Unknown family 'mask'\. Did you mean 'masked'\?"):
        LMConfig(str(tmp_path), family="mask")


def test_an_encoder_without_a_head_is_refused(tmp_path):
    """As sentence encoders and the discriminator of ELECTRA are."""
    _, tokenizer = tiny_masked("bert")
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=4,
    )
    BertModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(LMError, match=r"has no weights for cls\.predictions.*would be noise"):
        _load(tmp_path)


def test_a_head_that_lacks_one_weight_is_refused(tmp_path):
    saved = save_tiny(tmp_path, "roberta")
    weights = load_file(saved / "model.safetensors")
    del weights["lm_head.dense.weight"]
    save_file(weights, saved / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(LMError, match=r"has no weights for lm_head\.dense\.weight"):
        _load(saved)


def test_a_tokenizer_without_a_mask_token_is_refused(tmp_path):
    saved = save_tiny(tmp_path / "gpt2", "gpt2")
    masked = save_tiny(tmp_path / "modernbert", "modernbert")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (masked / name).write_bytes((saved / name).read_bytes())
    config = json.loads((masked / "config.json").read_text())
    assert config["architectures"] == ["ModernBertForMaskedLM"]
    with pytest.raises(LMError, match="no mask token"):
        _load(masked)
