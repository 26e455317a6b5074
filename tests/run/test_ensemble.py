"""Several prompts whose predictions are averaged, beside the best one alone."""

import json

import numpy as np
import pytest

from rlprompt import Predictor, Result, RunConfig, load, optimize
from rlprompt.core.errors import ConfigError, RunError
from rlprompt.core.evaluation import calibrate, pool
from rlprompt.run import folder
from rlprompt.tasks.registry import load_task


@pytest.fixture(scope="module")
def together(finished, tmp_path_factory):
    """A run like the finished one, but for the ensemble."""
    config, _ = finished
    values = {name: getattr(config, name) for name in config.__dataclass_fields__}
    out = tmp_path_factory.mktemp("runs") / "together"
    config = RunConfig(**values | {"out": out, "ensemble": 3})
    return config, optimize(config)


def test_a_pool_of_calibrated_predictions_is_the_calibrated_pool():
    generator = np.random.default_rng(0)
    each = [np.log(generator.dirichlet(np.ones(3), size=6)) for _ in range(4)]
    biases = generator.normal(size=(4, 3))
    found = calibrate(pool(each), biases.mean(axis=0))
    apart = [calibrate(one, bias) for one, bias in zip(each, biases, strict=True)]
    np.testing.assert_allclose(found, pool(apart), atol=1e-12)
    assert np.exp(pool(each)).sum(axis=1) == pytest.approx(1)
    assert pool(each[:1]) is each[0]


def test_the_best_finalists_are_scored_together(finished, together):
    _, alone = finished
    config, result = together
    # The search and what it selects alone are the same.
    assert result.main.found == alone.main.found
    assert alone.main.ensemble is None
    for search in (result.main, *result.controls.values()):
        texts = [each.text for each in search.ensemble.prompts]
        assert texts == [row["text"] for row in search.finalists][:3]
        assert len(set(texts)) > 1
        assert set(search.ensemble.scores) == {"train", "dev", "test"}
        assert search.ensemble.scores["test"] != search.found.scores["test"]
    assert Result.load(config.out) == result
    names = [config.agent, f"{config.agent}, 3 prompts", "random", "random, 3 prompts"]
    assert [*result.tested][:4] == names
    assert len(result.tested[names[1]].texts) == 3


def test_its_scores_are_those_of_the_mean_of_its_prompts(together):
    config, result = together
    ensemble = result.main.ensemble
    lm = load(config.out).lm
    task = load_task(config.task, 0, 4)
    texts = [example.fields["text"] for example in task.dev]
    found = load(config.out, lm=lm, ensemble=True).predict(texts)
    # Each prompt of the ensemble alone, with its own calibration.
    logs = []
    for each in ensemble.prompts:
        alone = Predictor(
            lm,
            template=task.template,
            labels=task.labels,
            words=result.verbalizer,
            text=each.text,
            calibration=dict.fromkeys(task.labels, 0.0),
        )
        for split, into in ((task.train, []), (task.dev, logs)):
            rows = alone.predict([example.fields["text"] for example in split])
            into.append(np.log([list(row.probabilities.values()) for row in rows]))
            if split is task.train:
                bias = into[0].mean(axis=0)
        logs[-1] = calibrate(logs[-1], bias)
    expected = np.exp(pool(logs))
    here = [list(row.probabilities.values()) for row in found]
    np.testing.assert_allclose(here, expected, atol=1e-5)
    gold = [example.label for example in task.dev]
    likelihood = np.log(expected)[np.arange(len(gold)), gold].mean()
    assert ensemble.scores["dev"].log_likelihood == pytest.approx(likelihood, abs=1e-5)


def test_refused(finished):
    config, _ = finished
    with pytest.raises(RunError, match="has no ensemble: run it anew with ensemble = 4"):
        load(config.out, ensemble=True)
    with pytest.raises(ConfigError, match="ensemble must be 1 or more, not 0"):
        RunConfig(ensemble=0)


def test_a_run_without_one_writes_nothing_of_it(finished):
    config, _ = finished
    assert "ensemble" not in json.loads((config.out / folder.CONFIG).read_text())
