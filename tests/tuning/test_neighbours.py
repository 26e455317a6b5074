"""What sets each of the neighbour tuners apart."""

import sys

import numpy as np
import pytest
import torch

from rlprompt.core.errors import ConfigError
from rlprompt.core.events import ignore
from rlprompt.core.ledger import Budget
from rlprompt.core.prompt import Prompt
from rlprompt.lm.causal import CausalLM
from rlprompt.testing import PACKED_FAMILIES, tiny_causal, tiny_seq2seq
from rlprompt.tuning import adapters, prefix
from rlprompt.tuning.protocol import Problem, make_tuner

ONE = {"learning_rates": (0.01,), "steps": 1}


def tune(name, problem, **settings):
    return make_tuner(name, settings).tune(problem, seed=0, on_event=ignore, work=None)


def test_numbers_that_are_trained(problem, lm):
    """Of a Llama of 2 layers, width 32, 2 key-value heads of 8 and a feed-forward width of 64."""
    width, layers = 32, 2
    assert tune("prefix", problem(), length=3, **ONE).n_parameters == 3 * layers * 2 * 16
    # Query (32 to 32) and value (32 to 16), each with a matrix down and one up.
    each = 4 * (width + 32) + 4 * (width + 16)
    assert tune("lora", problem(), rank=4, **ONE).n_parameters == layers * each
    rest = 4 * (width + 16) + 4 * (32 + width) + 3 * 4 * (width + 64)
    tuned = tune("lora", problem(), rank=4, targets="all-linear", **ONE)
    assert tuned.n_parameters == layers * (each + rest)
    tuned = tune("fine-tune", problem(), **ONE)
    assert tuned.n_parameters == sum(each.numel() for each in lm.model.parameters())
    linear = width * width + width
    assert tune("p-tuning", problem(), length=3, **ONE).n_parameters == 3 * width + 3 * linear
    assert tune("bbt", problem(), dimensions=7, generations=1).n_parameters == 7


def test_lora_and_fine_tuning_begin_as_the_lm_itself(problem, lm, task):
    """The budget covers no update: what is scored is the LM with its likeliest manual prompt."""
    bound = lm.bind(task.template, task.verbalizer, tuple(task.dev), max_prompt_tokens=9)
    prompts = [Prompt(lm.tokenizer.encode(text)) for text in task.manual_prompts]
    known = bound.choice_logprobs(prompts)
    best = known[known[:, np.arange(10), list(task.dev.gold)].mean(-1).argmax()]
    for name in ("lora", "fine-tune"):
        found = tune(name, problem(30)).choice_logprobs(tuple(task.dev))
        np.testing.assert_allclose(found, best, atol=1e-5)


@pytest.mark.parametrize("family", PACKED_FAMILIES)
def test_a_prefix_begins_as_the_words_it_was_made_of(family, task):
    """What stands behind it is read as behind the words themselves."""
    lm = CausalLM(*tiny_causal(family))
    problem = Problem(lm, task, Budget(1000))
    adapter = adapters.with_adapter(
        "prefix", problem, lm.model, "PrefixTuningConfig", 0, num_virtual_tokens=3
    ).eval()
    words, text = [lm.tokenizer.encode(each) for each in (" in short it", " a fine film")]
    assert len(words) == 3
    prefix._begin(adapter, words)
    with torch.no_grad():
        behind = adapter(input_ids=torch.tensor([text])).logits
        whole = lm.model(input_ids=torch.tensor([[*words, *text]])).logits[:, 3:]
    torch.testing.assert_close(behind, whole, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_a_prefix_of_an_encoder_decoder_is_that_of_its_decoder(family):
    model, _ = tiny_seq2seq(family)
    identity = type("Identity", (), {"family": "seq2seq", "name": family})
    problem = type("Problem", (), {"lm": type("LM", (), {"identity": identity})})
    model.requires_grad_(False)
    adapter = adapters.with_adapter(
        "prefix", problem, model, "PrefixTuningConfig", 0, num_virtual_tokens=3
    ).eval()
    prefix._begin(adapter, [300, 301, 302])
    given = {"input_ids": torch.arange(300, 308)[None], "decoder_input_ids": torch.tensor([[0, 5]])}
    logits = adapter(**given).logits
    assert (logits - model(**given).logits).abs().max() > 1e-3
    logits.sum().backward()
    (weight,) = [each for each in adapter.parameters() if each.requires_grad]
    assert (weight.grad.abs().sum(dim=1) > 0).all(), "every position is trained"


def test_the_two_encoders_of_p_tuning(problem):
    dev = tuple(problem().task.dev)
    settings = {"length": 3, "learning_rates": (0.01,), "steps": 4, "evaluate_every": 2}
    mlp, lstm = (tune("p-tuning", problem(), encoder=each, **settings) for each in ("mlp", "lstm"))
    assert lstm.n_parameters > mlp.n_parameters
    assert len(lstm.history) == 3
    assert not np.array_equal(mlp.choice_logprobs(dev), lstm.choice_logprobs(dev))


def test_an_architecture_that_peft_does_not_know(task):
    lm = CausalLM(*tiny_causal("mamba"))
    problem = Problem(lm, task, Budget(1000))
    with pytest.raises(ConfigError, match="prefix cannot be put on MambaForCausalLM"):
        tune("prefix", problem, text="so")
    with pytest.raises(ConfigError, match="lora cannot be put on MambaForCausalLM"):
        tune("lora", problem, text="so")


def test_black_box_tuning_spends_forwards_alone(problem):
    given = problem()
    tuned = tune("bbt", given, population=4, generations=4, evaluate_every=2, dimensions=5)
    looks = len(tuned.history)
    # Two manual prompts on dev; then the looks at dev and 4 generations of 4 prompts on train.
    assert given.ledger.forwards == 2 * 10 + looks * 10 + 4 * 4 * 12
    assert 2 <= looks <= 3
    rises = [row["train_log_likelihood"] for row in tuned.history[1:]]
    assert rises == sorted(rises)


def test_black_box_tuning_plays_again_without_the_lm(problem, lm, tmp_path):
    def search():
        settings = {"init": "labels", "population": 4, "generations": 4, "dimensions": 5}
        tuner = make_tuner("bbt", settings)
        return tuner.tune(problem(), seed=0, on_event=ignore, work=tmp_path)

    whole = search()
    calls = []
    hook = lm.model.register_forward_pre_hook(lambda *_: calls.append(1))
    again = search()
    hook.remove()
    assert torch.equal(again.rows.soft(), whole.rows.soft())
    assert list(again.history) == list(whole.history)
    assert not calls


@pytest.mark.parametrize(
    ("name", "package"), [("lora", "peft"), ("p-tuning", "peft"), ("bbt", "cmaes")]
)
def test_a_package_that_is_missing_is_named(name, package, problem, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=r"pip install rlprompt\[tuning\]"):
        tune(name, problem())
