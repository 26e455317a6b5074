"""A prompt in two slots of a template, from the search to other LMs."""

import json

import numpy as np
import pytest

from rlprompt import LMConfig, RunConfig, load, load_lm, load_task, optimize
from rlprompt.core.errors import ConfigError
from rlprompt.core.prompt import Prompt
from rlprompt.core.result import Result
from rlprompt.run.transfer import transfer
from rlprompt.run.words import word_effects
from rlprompt.tasks.template import Template
from rlprompt.tasks.tokenization import prompt_of, prompt_text
from rlprompt.testing import save_tiny

SOURCE = "{prompt:2} {text} {prompt:3} {mask}."


@pytest.fixture(scope="module")
def lms(tmp_path_factory):
    """Folders of tiny LMs by family."""
    root = tmp_path_factory.mktemp("lms")
    return {
        family: save_tiny(root / family, family) for family in ("bert", "roberta", "t5", "gpt2")
    }


@pytest.fixture(scope="module")
def asked(settings, lms):
    """Keyword arguments of a RunConfig with two slots and a masked LM."""
    return settings | {
        "lm": str(lms["bert"]),
        "agent": "random",
        "controls": (),
        "budget": 800,
        "length": 5,
        "template": SOURCE,
        "manual_prompts": ("So||it was", "||overall a", "Say it in all"),
    }


@pytest.fixture(scope="module")
def finished(asked, tmp_path_factory):
    """Configuration and result of a finished run."""
    config = RunConfig(**asked, out=tmp_path_factory.mktemp("runs") / "slots")
    return config, optimize(config)


@pytest.mark.parametrize("agent", ["ppo", "genetic", "greedy"])
def test_agents_fill_the_slots(agent, asked):
    if agent == "ppo":
        pytest.importorskip("stable_baselines3")
    config = RunConfig(**asked | {"agent": agent})
    result = optimize(config)
    assert 0 < len(result.prompt.ids) <= 5
    first, _, second = result.prompt.text.partition("||")
    assert [len(first.split()), len(second.split())] == [
        min(2, len(result.prompt.ids)),
        max(0, len(result.prompt.ids) - 2),
    ]


def test_from_search_to_predictor(finished):
    config, result = finished
    assert len(result.prompt.ids) == 5
    assert result.prompt.retokenizes
    first, second = result.prompt.text.split("||")
    assert (len(first.split()), len(second.split())) == (2, 3)
    assert (config.out / "prompt.txt").read_text(encoding="utf-8") == result.prompt.text
    assert Result.load(config.out / "result.json") == result
    manual = {row["text"].strip() for row in result.manual_candidates}
    assert manual == {"so||it was", "||overall a", "say it in all"}

    predictor = load(config.out)
    assert predictor.prompt == Prompt(result.prompt.ids)
    examples = load_task(config.task, 0, 4).test.open("test of a prompt in slots").examples[:30]
    there, here = result.scores["test"], predictor.evaluate(examples)
    assert here.accuracy == there.accuracy
    assert here.log_likelihood == pytest.approx(there.log_likelihood, abs=1e-5)

    # By hand: one rendered text, the tokenizer's own ids, the model's own logits.
    lm = load_lm(LMConfig(config.lm))
    text = examples[0].fields["text"]
    whole = f"{first} {text} {second} {lm.tokenizer.hf.mask_token}."
    inputs = lm.tokenizer.hf(whole, return_tensors="pt")
    at = inputs.input_ids[0].tolist().index(lm.tokenizer.hf.mask_token_id)
    words = [lm.tokenizer.encode(f" {word}")[0] for word in ("bad", "good")]
    logits = lm.model(**inputs).logits[0, at].detach().numpy()[words]
    bias = [result.main.found.calibration[label] for label in ("bad", "good")]
    expected = np.exp(logits - bias)
    (found,) = predictor.predict([text])
    np.testing.assert_allclose(
        [found.probabilities[label] for label in ("bad", "good")],
        expected / expected.sum(),
        atol=1e-4,
    )


def test_a_run_is_taken_up_again_with_all_its_scores(finished):
    config, result = finished
    before = (config.out / "evaluations.jsonl").read_bytes()
    (config.out / "result.json").unlink()
    again = optimize(config)
    assert (config.out / "evaluations.jsonl").read_bytes() == before
    assert (again.prompt, again.scores) == (result.prompt, result.scores)
    lines = [json.loads(line) for line in before.splitlines()]
    # Of manual prompts only.
    sizes = {tuple(each) for line in lines for each in line.get("sizes", [])}
    assert sizes == {(), (0,), (1,), (4,)}


def test_transfer_keeps_every_word_in_its_slot(finished, lms):
    config, result = finished
    others = ("roberta", "t5", "gpt2")
    found = transfer([config.out], [LMConfig(str(lms[name])) for name in others], test_limit=10)
    assert [column.name for column in found.columns] == ["bert", "roberta", "t5"]
    (failure,) = found.failures
    assert failure.lm == "gpt2"
    assert "a causal LM takes one: write e.g. '{text} {prompt}'" in failure.message
    assert found.columns[0].cells["learned"].prompt == result.prompt
    for column, name in zip(found.columns[1:], others, strict=False):
        lm = load_lm(LMConfig(str(lms[name])))
        for row in found.rows:
            cell = column.cells[row.name]
            assert cell.template["source"] == SOURCE
            assert cell.survives
            prompt = prompt_of(lm.tokenizer, Template(SOURCE), row.text)
            assert cell.prompt.ids == prompt.ids
            assert prompt_text(lm.tokenizer, Template(SOURCE), prompt) == row.text


def test_a_length_that_does_not_fill_the_slots_is_refused(asked):
    with pytest.raises(ConfigError, match="hold 5 tokens, not 4: give --length 5"):
        optimize(RunConfig(**asked | {"length": 4}))


def test_single_words_are_put_into_the_first_slot(asked):
    config = RunConfig(**asked | {"vocabulary_size": 5})
    found = word_effects(config, top=1)
    assert len(found.rows) == 5
    assert all("||" not in row.text for row in found.rows)
