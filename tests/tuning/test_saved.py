"""What a tuner writes gives the same scores to whoever loads it with peft or transformers."""

import json

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors import safe_open

from rlprompt.core.errors import ConfigError
from rlprompt.core.events import ignore
from rlprompt.core.ledger import Budget
from rlprompt.core.prompt import Prompt
from rlprompt.lm.causal import CausalLM
from rlprompt.tasks.template import Template
from rlprompt.testing import tiny_causal
from rlprompt.tuning import peft_files
from rlprompt.tuning.protocol import Problem, make_tuner

QUICK = {"learning_rates": (0.03,), "steps": 3, "evaluate_every": 1}
FIRST = "{prompt} {text}"


@pytest.fixture(scope="module")
def gpt2():
    """An LM whose tokenizer puts nothing before a text."""
    return CausalLM(*tiny_causal("gpt2"))


@pytest.fixture
def load():
    """Loads an adapter as its users do."""

    def loaded(lm, folder):
        return PeftModel.from_pretrained(lm.model, folder).eval()

    return loaded


pytestmark = pytest.mark.filterwarnings(
    # peft's own use of transformers.
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning",
)


def tune(name, problem, **settings):
    tuner = make_tuner(name, {**QUICK, **settings})
    return tuner.tune(problem, seed=0, on_event=ignore, work=None)


@torch.no_grad()
def label_scores(model, lm, task, texts):
    """The log-probabilities of 'bad' and 'good' after each text, the plain way."""
    words = [lm.tokenizer.encode(f" {word}")[0] for word in ("bad", "good")]
    rows = []
    for text in texts:
        ids = torch.tensor([[*lm.tokenizer.start_ids, *lm.tokenizer.encode(text)]])
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, -1]
        rows.append(logits[words].log_softmax(-1).numpy())
    return np.stack(rows)


@pytest.mark.parametrize("name", ["prefix", "lora", "fine-tune"])
def test_a_model_read_again_gives_the_same_scores(name, lm, task, problem, load, tmp_path):
    tuned = tune(name, problem(), text=" in short it was")
    tuned.save(tmp_path)
    facts = json.loads((tmp_path / "prompt.json").read_text())
    assert facts["prompt"] == " in short it was"
    assert facts["lm"] == lm.identity.fingerprint
    if name == "fine-tune":
        model = type(lm.model).from_pretrained(tmp_path).eval()
    else:
        model = load(CausalLM(*tiny_causal("llama")), tmp_path)
        config = json.loads((tmp_path / "adapter_config.json").read_text())
        assert config["base_model_name_or_path"] == lm.identity.name
    template = Template(facts["template"])
    texts = [template.render(e.fields, facts["prompt"]) for e in task.dev]
    found = label_scores(model, lm, task, texts)
    np.testing.assert_allclose(found, tuned.choice_logprobs(tuple(task.dev)), atol=1e-5)
    assert np.abs(found - label_scores(lm.model, lm, task, texts)).max() > 1e-3


@pytest.mark.parametrize("name", ["soft-prompt", "p-tuning"])
def test_rows_before_the_input_are_an_adapter_of_peft(name, gpt2, task, load, tmp_path):
    tuned = tune(name, Problem(gpt2, task, Budget(10_000)), length=4, template=FIRST)
    tuned.save(tmp_path)
    model = load(CausalLM(*tiny_causal("gpt2")), tmp_path)
    texts = [f" {e.fields['text']}" for e in task.dev]
    found = label_scores(model, gpt2, task, texts)
    np.testing.assert_allclose(found, tuned.choice_logprobs(tuple(task.dev)), atol=1e-5)


def test_a_text_before_the_input_is_an_adapter_of_peft(gpt2, task, load, tmp_path):
    peft_files.save_text(tmp_path, gpt2, Template(FIRST), "in short it was")
    model = load(CausalLM(*tiny_causal("gpt2")), tmp_path)
    bound = gpt2.bind(Template(FIRST), task.verbalizer, tuple(task.dev), max_prompt_tokens=9)
    prompt = Prompt(gpt2.tokenizer.encode("in short it was"))
    found = label_scores(model, gpt2, task, [f" {e.fields['text']}" for e in task.dev])
    np.testing.assert_allclose(found, bound.choice_logprobs([prompt])[0], atol=1e-5)
    ids = torch.tensor([[*prompt.ids, *gpt2.tokenizer.encode(" a fine film")]])
    with torch.no_grad():
        whole = gpt2.model(input_ids=ids).logits[:, -1]
        behind = model(input_ids=ids[:, len(prompt) :]).logits[:, -1]
    torch.testing.assert_close(behind, whole, atol=1e-5, rtol=1e-5)


def test_nothing_is_written_where_peft_would_say_something_else(lm, gpt2, task, tmp_path):
    """A start token, or the input, stands before the prompt."""
    for each, template in ((lm, FIRST), (gpt2, "{text} {prompt}"), (gpt2, "So: {prompt} {text}")):
        assert not peft_files.stands_first(each, Template(template))
        with pytest.raises(ConfigError, match="something stands before it"):
            peft_files.save_text(tmp_path, each, Template(template), "so")
        tune("soft-prompt", Problem(each, task, Budget(999)), template=template).save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["soft_prompt.safetensors"]
    with pytest.raises(ConfigError, match="An empty prompt has no rows"):
        peft_files.save_text(tmp_path, gpt2, Template(FIRST), "")


def test_the_file_of_a_soft_prompt_says_what_it_is_for(lm, task, problem, tmp_path):
    tuned = tune("soft-prompt", problem(), length=3)
    tuned.save(tmp_path)
    with safe_open(tmp_path / "soft_prompt.safetensors", framework="pt") as file:
        assert torch.equal(file.get_tensor("prompt"), tuned.rows.soft())
        facts = json.loads(file.metadata()["facts"])
    assert facts["words"] == [["bad"], ["good"]]
    assert facts["template"] == task.template.source
