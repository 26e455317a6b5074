"""A masked LM through a whole run: nothing above the LM asks for its family."""

import json

import numpy as np
import pytest

from rlprompt import RunConfig, load, load_lm, load_task, optimize
from rlprompt.lm.loading import LMConfig
from rlprompt.testing import save_tiny


@pytest.mark.parametrize(("family", "agent"), [("bert", "random"), ("roberta", "ppo")])
def test_from_search_to_predictor(family, agent, settings, tmp_path):
    changes = {
        "lm": str(save_tiny(tmp_path / "lm", family)),
        "agent": agent,
        "controls": (),
        "budget": 800,
        "template": "{text} {prompt} {mask} .",
        "manual_prompts": ("It was", "overall a"),
    }
    if agent == "ppo":
        pytest.importorskip("stable_baselines3")
    config = RunConfig(**settings | changes, out=tmp_path / "run")
    result = optimize(config)
    assert result.lm["family"] == "masked"
    assert result.prompt.retokenizes
    assert result.prompt.text.strip() == result.prompt.text
    ledger = result.main.ledger
    assert 700 < ledger["forwards"] <= 800
    assert ledger["tokens"] > 0

    predictor = load(config.out)
    examples = load_task(config.task, 0, 4).test.open("test of a masked LM").examples[:30]
    there, here = result.scores["test"], predictor.evaluate(examples)
    assert here.accuracy == there.accuracy
    assert here.log_likelihood == pytest.approx(there.log_likelihood, abs=1e-5)
    texts = [example.fields["text"] for example in examples]
    lm = load_lm(LMConfig(config.lm))
    for one, other in zip(
        predictor.predict(texts), load(config.out, lm=lm).predict(texts), strict=True
    ):
        assert one.label == other.label
        np.testing.assert_allclose(
            [*one.probabilities.values()], [*other.probabilities.values()], atol=1e-6
        )


def test_pieces_from_inside_words_on_request(settings, tmp_path):
    changes = {
        "lm": str(save_tiny(tmp_path / "lm", "bert")),
        "agent": "random",
        "controls": (),
        "budget": 400,
        "template": "{text} {prompt} {mask} .",
        "manual_prompts": (),
        "whole_words": False,
        "vocabulary_size": 400,
    }
    texts = {}
    for pieces in (False, True):
        config = RunConfig(**settings | changes, pieces=pieces, out=tmp_path / str(pieces))
        optimize(config)
        value = json.loads((config.out / "vocabulary.json").read_text(encoding="utf-8"))
        texts[pieces] = value["texts"]
    assert "ing" not in texts[False]
    assert "ing" in texts[True]
