"""A learned prompt at work: it scores what the run scored."""

import json
import shutil

import numpy as np
import pytest

from rlprompt import Predictor, RunConfig, load, load_lm, load_task, optimize
from rlprompt.core.errors import RunError, TemplateError
from rlprompt.lm.loading import LMConfig
from rlprompt.run import predictor as module
from rlprompt.testing import save_tiny


@pytest.fixture(scope="module")
def predictor(finished):
    return load(finished[0].out)


@pytest.fixture
def test_examples(finished):
    config, _ = finished
    return load_task(config.task, 0, 4).test.open("test of the predictor").examples[:30]


def close(one, other):
    assert one.accuracy == other.accuracy
    assert one.log_likelihood == pytest.approx(other.log_likelihood, abs=1e-5)
    np.testing.assert_allclose(
        one.log_likelihood_interval, other.log_likelihood_interval, atol=1e-4
    )


def test_scores_test_as_the_run_did(finished, predictor, test_examples):
    _, result = finished
    for found in (result.main.found, *result.baselines.values(), result.controls["random"].found):
        there = found.scores["test"]
        here = Predictor.of(result, predictor.lm, found).evaluate(test_examples)
        close(here, there)
        close(here.uncalibrated, there.uncalibrated)


def test_predicts_what_it_evaluates(finished, predictor, test_examples):
    _, result = finished
    labels = result.task["labels"]
    predictions = predictor.predict([example.fields["text"] for example in test_examples])
    for prediction in predictions:
        assert [*prediction.probabilities] == labels
        assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-9)
        assert prediction.probabilities[prediction.label] == max(prediction.probabilities.values())
    gold = [labels[example.label] for example in test_examples]
    hits = np.mean([p.label == g for p, g in zip(predictions, gold, strict=True)])
    assert hits == pytest.approx(result.scores["test"].accuracy)
    likelihood = np.mean(
        [np.log(p.probabilities[g]) for p, g in zip(predictions, gold, strict=True)]
    )
    assert likelihood == pytest.approx(result.scores["test"].log_likelihood, abs=1e-5)


def test_blocks_change_no_score(predictor, test_examples, monkeypatch):
    texts = [example.fields["text"] for example in test_examples]
    whole = predictor.predict(texts)
    monkeypatch.setattr(module, "BLOCK", 7)
    for one, other in zip(predictor.predict(texts), whole, strict=True):
        assert one.label == other.label
        for label, probability in one.probabilities.items():
            assert probability == pytest.approx(other.probabilities[label], abs=1e-5)
    assert predictor.predict([]) == []


def test_a_run_is_named_by_its_folder_or_its_result(finished, predictor):
    config, result = finished
    again = load(str(config.out / "result.json"), lm=predictor.lm)
    assert again.text == predictor.text == result.prompt.text
    assert again.prompt.ids == result.prompt.ids
    assert again.predict(["a fine film"]) == predictor.predict(["a fine film"])


def test_texts_may_name_their_fields(predictor):
    assert predictor.predict([{"text": "a fine film"}]) == predictor.predict(["a fine film"])
    with pytest.raises(TemplateError, match="text"):
        predictor.predict([{"review": "a fine film"}])


def test_several_fields(settings, tmp_path):
    path = tmp_path / "pairs.csv"
    lines = [
        f"the {noun} was {word},the {other} was {word},{label}"
        for noun in ("film", "plot", "cast", "music", "script", "story")
        for other in ("actor", "scene", "ending")
        for word, label in (("great", "yes"), ("dull", "no"))
    ]
    path.write_text("one,two,label\n" + "\n".join(lines) + "\n", encoding="utf-8")
    changes = {"task": str(path), "template": "{one} and {two}{prompt}", "controls": ()}
    config = RunConfig(**settings | changes, out=tmp_path / "run")
    result = optimize(config)
    predictor = load(config.out)
    pair = {"one": "the film was great", "two": "the scene was great"}
    [prediction] = predictor.predict([pair])
    assert {*prediction.probabilities} == {"yes", "no"} == {*result.main.found.calibration}
    [turned] = predictor.predict([{"one": pair["two"], "two": pair["one"]}])
    assert turned != prediction
    with pytest.raises(TemplateError, match="has the fields one, two: give each input as a map"):
        predictor.predict(["the film was great"])
    with pytest.raises(TemplateError, match="two"):
        predictor.predict([{"one": "the film was great"}])


@pytest.mark.parametrize(("family", "seed"), [("llama", 1), ("gpt2", 0)])
def test_another_lm_is_refused(family, seed, finished, tmp_path):
    other = load_lm(LMConfig(str(save_tiny(tmp_path, family, seed))))
    with pytest.raises(RunError, match="calibration does not hold"):
        load(finished[0].out, lm=other)


def test_another_tokenizer_is_refused_in_any_dtype(finished, tmp_path):
    other = load_lm(LMConfig(str(save_tiny(tmp_path, "gpt2")), dtype="bfloat16"))
    with pytest.raises(RunError, match="calibration does not hold"):
        load(finished[0].out, lm=other)


def test_an_lm_is_loaded_in_the_dtype_of_the_run(finished, monkeypatch):
    asked = []
    monkeypatch.setattr(module, "load_lm", lambda config: asked.append(config) or load_lm(config))
    load(finished[0].out, device="cpu")
    [config] = asked
    assert (config.dtype, config.device, config.family) == ("float32", "cpu", "causal")


def test_a_run_that_is_not_finished_is_named(finished, tmp_path):
    with pytest.raises(RunError, match=r"No run at .*nowhere: there is no such folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(RunError, match=r"No result at .*: the run is not finished, or elsewhere"):
        load(tmp_path)


def test_the_text_alone_decides(finished, predictor, tmp_path):
    """Ids in result.json are for readers: what is scored is the text, encoded anew."""
    config, _ = finished
    shutil.copytree(config.out, tmp_path / "run")
    path = tmp_path / "run" / "result.json"
    value = json.loads(path.read_text(encoding="utf-8"))
    value["prompt"]["ids"] = [300]
    path.write_text(json.dumps(value), encoding="utf-8")
    assert load(tmp_path / "run", lm=predictor.lm).prompt == predictor.prompt
