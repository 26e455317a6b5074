"""Linear layers through oneDNN: the same products, and nothing else changed."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from rlprompt.core.prompt import Prompt
from rlprompt.lm.causal import CausalLM
from rlprompt.lm.linear import PackedLinear, TrainableLinear, pack_linears
from rlprompt.testing import CAUSAL_FAMILIES, planted_task, tiny_causal


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5), (0, 5), (1, 1, 5)])
def test_a_packed_layer_gives_what_the_layer_gives(shape, bias):
    torch.manual_seed(0)
    layer = nn.Linear(5, 7, bias=bias)
    states = torch.randn(shape)
    with torch.inference_mode():
        torch.testing.assert_close(PackedLinear(layer)(states), layer(states))


def test_states_need_not_be_contiguous():
    layer, states = nn.Linear(4, 3), torch.randn(4, 6, 2).transpose(0, 1).transpose(1, 2)
    with torch.inference_mode():
        torch.testing.assert_close(PackedLinear(layer)(states), layer(states))


def test_a_gradient_is_refused_rather_than_lost():
    packed = PackedLinear(nn.Linear(4, 3))
    with pytest.raises(RuntimeError, match="no gradient"):
        packed(torch.randn(2, 4, requires_grad=True))


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5), (0, 5)])
def test_a_trainable_layer_has_the_gradients_of_the_layer(shape, bias, frozen):
    torch.manual_seed(0)
    layer = nn.Linear(5, 7, bias=bias).requires_grad_(not frozen)
    states = torch.randn(shape, requires_grad=True)
    direction = torch.randn(*shape[:-1], 7)
    wanted = [states, *([] if frozen else layer.parameters())]
    made = TrainableLinear(layer)
    assert made.weight is layer.weight
    one, two = (
        (found := each(states), *torch.autograd.grad((found * direction).sum(), wanted))
        for each in (layer, made)
    )
    torch.testing.assert_close(two, one)


def test_a_trainable_layer_may_be_copied_and_halved():
    layer, states = TrainableLinear(nn.Linear(4, 3)), torch.randn(2, 4)
    half = copy.deepcopy(layer).to(torch.bfloat16)
    torch.testing.assert_close(half(states.bfloat16()).float(), layer(states), atol=0.05, rtol=0)
    assert layer.state_dict().keys() == nn.Linear(4, 3).state_dict().keys()


def packed(model):
    """Packs a copy of a causal LM; returns it and how many layers were packed."""
    other = copy.deepcopy(model)
    tokens = torch.arange(4)[None]
    count = pack_linears(other, lambda: other(tokens).logits, keep=other.get_output_embeddings())
    return other, count


@pytest.mark.parametrize("family", CAUSAL_FAMILIES)
def test_every_family_scores_the_same_with_packed_layers(family):
    model, tokenizer = tiny_causal(family)
    other, count = packed(model)
    head = model.get_output_embeddings()
    linears = [m for m in model.modules() if type(m) is nn.Linear and m is not head]
    # The code of Mamba reads the weights of its layers: it keeps them.
    assert count == (0 if family == "mamba" else len(linears))
    assert type(other.get_output_embeddings()) is type(head)
    task = planted_task(6, 2, 2)
    prompts = [Prompt(), Prompt((300,)), Prompt((301, 302, 303))]
    one, two = (
        CausalLM(each, tokenizer)
        .bind(task.template, task.verbalizer, task.train.examples, max_prompt_tokens=3)
        .choice_logprobs(prompts)
        for each in (model, other)
    )
    np.testing.assert_allclose(two, one, atol=1e-5)


def layers():
    """Returns a small model and its probe."""
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    return model, lambda: model(torch.ones(1, 3, dtype=model[0].weight.dtype))


def assert_left_alone(model, probe):
    assert pack_linears(model, probe) == 0
    assert all(type(layer) is nn.Linear for layer in model)


def test_what_is_not_float32_is_left_alone():
    model, probe = layers()
    assert_left_alone(model.to(torch.bfloat16), probe)


def refuse(self, states):
    raise RuntimeError("no such operator")


def differ(self, states):
    return torch.full((*states.shape[:-1], self.out_features), 9.0)


@pytest.mark.parametrize("forward", [refuse, differ])
def test_a_torch_that_cannot_is_left_alone(forward, monkeypatch):
    monkeypatch.setattr(PackedLinear, "forward", forward)
    model, _ = layers()
    assert_left_alone(model, lambda: model(torch.ones(1, 3)))
