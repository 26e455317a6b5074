"""Only what is asked for goes through a masked LM's head, whatever the architecture."""

import functools

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForMaskedLM

from rlprompt.core.prompt import Prompt
from rlprompt.lm.linear import PackedLinear, pack_linears
from rlprompt.lm.masked import MaskedLM
from rlprompt.lm.masked_forward import HeadAtMasks, WholeLogits
from rlprompt.tasks.template import Template
from rlprompt.tasks.verbalizer import Verbalizer
from rlprompt.testing import MASKED_FAMILIES, tiny_masked

TEMPLATE = Template("{text} {prompt} {mask} .")
ONE = Verbalizer((("bad",), ("good",)))


@functools.cache
def model_of(family):
    return tiny_masked(family)


@functools.cache
def lm_of(family):
    return MaskedLM(*model_of(family))


def prompts_of(lm):
    texts = ("", " overall", " in short it was", " the film that I saw is")
    return [Prompt(lm.tokenizer.encode(text)) for text in texts]


@pytest.fixture(scope="module", params=MASKED_FAMILIES)
def family(request):
    return request.param


def test_a_head_that_cannot_be_taken_apart_is_run_whole(examples, caplog, monkeypatch, mixed):
    prompts = prompts_of(lm_of("bert"))
    scores = []
    for broken in (False, True):
        model, tokenizer = tiny_masked("bert")
        if broken:
            forward = type(model).forward

            def scaled(self, *given, forward=forward, inputs_embeds=None, **named):
                output = forward(self, *given, inputs_embeds=inputs_embeds, **named)
                if inputs_embeds is not None:
                    output.logits = output.logits * 1.1
                return output

            monkeypatch.setattr(type(model), "forward", scaled)
        lm = MaskedLM(model, tokenizer, name="odd")
        scorer = lm.bind(TEMPLATE, mixed, examples, max_prompt_tokens=12)
        scores.append(scorer.choice_logprobs(prompts))
        assert isinstance(lm._forward, WholeLogits if broken else HeadAtMasks)
    np.testing.assert_allclose(*scores, atol=1e-4)
    assert "odd (BertForMaskedLM) cannot run its head at the mask positions alone" in caplog.text


@pytest.mark.parametrize(
    ("model_type", "settings", "forward"),
    [
        ("albert", {"embedding_size": 16}, HeadAtMasks),
        ("deberta-v2", {}, HeadAtMasks),
        ("mpnet", {}, HeadAtMasks),
        ("xlm", {"emb_dim": 32, "n_layers": 2, "n_heads": 4}, HeadAtMasks),
        # Multiplies the decoder's weight itself.
        (
            "mobilebert",
            {"embedding_size": 16, "intra_bottleneck_size": 32, "true_hidden_size": 32},
            WholeLogits,
        ),
    ],
)
def test_other_architectures_need_no_code_of_their_own(
    model_type, settings, forward, examples, mixed
):
    _, tokenizer = model_of("bert")
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 128,
        "vocab_size": len(tokenizer),
        "pad_token_id": 0,
    }
    config = AutoConfig.for_model(model_type, **sizes | settings)
    lm = MaskedLM(AutoModelForMaskedLM.from_config(config), tokenizer)
    arguments = (TEMPLATE, mixed, examples[:3])
    scorer = lm.bind(*arguments, max_prompt_tokens=4)
    assert isinstance(lm._forward, forward)
    prompts = prompts_of(lm)
    expected = lm.plain(*arguments, max_prompt_tokens=4).choice_logprobs(prompts)
    np.testing.assert_allclose(scorer.choice_logprobs(prompts), expected, atol=1e-4)


def test_only_mask_positions_go_through_the_head(family, examples, monkeypatch):
    lm = lm_of(family)
    lm.bind(TEMPLATE, ONE, examples, max_prompt_tokens=12)
    shapes = []
    layers = [
        (name, layer)
        for name, layer in lm.model.named_modules()
        if not [*layer.children()] and not name.startswith(f"{lm.model.base_model_prefix}.")
    ]
    assert layers
    for name, layer in layers:
        layer.register_forward_hook(lambda m, i, o, name=name: shapes.append((name, i[0].shape)))
    scorer = lm.bind(TEMPLATE, ONE, examples, max_prompt_tokens=12)
    scorer.choice_logprobs([Prompt()])
    for _, layer in layers:
        layer._forward_hooks.clear()
    assert shapes
    # (rows, one mask, width), and never the decoder.
    assert {shape[1] for _, shape in shapes} == {1}
    decoder = lm.model.get_output_embeddings()
    assert not {name for name, layer in layers if layer is decoder} & {name for name, _ in shapes}


def test_equal_rows_are_scored_once_and_padding_is_not_counted(examples):
    lm = MaskedLM(*model_of("bert"))
    scorer = lm.bind(TEMPLATE, ONE, [*examples, *examples], max_prompt_tokens=12)
    before = lm.meter.tokens
    scorer.choice_logprobs([Prompt(), Prompt()])
    _, tokenizer = model_of("bert")
    texts = sum(len(tokenizer(e.fields["text"] + " [MASK] .").input_ids) for e in examples)
    assert lm.meter.tokens - before == texts
    assert lm.meter.cached_tokens == 0
    assert not scorer.prefixes_are_free
    assert scorer.choice_logprobs([]).shape == (0, 2 * len(examples), 2)
    with pytest.raises(ValueError, match="never free"):
        scorer.prefix_logprobs([Prompt()])


def test_packed_layers_change_no_score(family, examples, mixed):
    model, tokenizer = tiny_masked(family)
    prompts = prompts_of(lm_of(family))
    scores = [
        lm.bind(TEMPLATE, mixed, examples, max_prompt_tokens=12).choice_logprobs(prompts)
        for lm in (lm_of(family), MaskedLM(model, tokenizer))
    ]
    tokens = torch.arange(4)[None]
    decoder = model.get_output_embeddings()
    assert pack_linears(model, lambda: model(tokens).logits, keep=decoder)
    assert not isinstance(model.get_output_embeddings(), PackedLinear)
    lm = MaskedLM(model, tokenizer)
    scorer = lm.bind(TEMPLATE, mixed, examples, max_prompt_tokens=12)
    assert isinstance(lm._forward, HeadAtMasks)
    np.testing.assert_allclose(scorer.choice_logprobs(prompts), scores[0], atol=1e-4)


def test_half_precision_is_near(examples):
    prompts = prompts_of(lm_of("roberta"))
    model, tokenizer = tiny_masked("roberta")
    lm = MaskedLM(model.to(torch.bfloat16), tokenizer)
    scores = [
        each.bind(TEMPLATE, ONE, examples, max_prompt_tokens=12).choice_logprobs(prompts)
        for each in (lm, lm_of("roberta"))
    ]
    assert isinstance(lm._forward, HeadAtMasks)
    np.testing.assert_allclose(*scores, atol=0.5)
