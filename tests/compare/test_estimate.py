"""How long a comparison will take, from what was measured and what is left to do."""

import pytest

from rlprompt.compare import estimate
from rlprompt.compare.config import CompareConfig
from rlprompt.compare.estimate import Speed

TUNERS = ("soft-prompt", "lora", "bbt")
SPEED = Speed(search=1000.0, soft=100.0, whole=10.0)


@pytest.fixture
def config(settings, tmp_path):
    def made(**changed):
        return CompareConfig(**settings | {"tuners": TUNERS} | changed, out=tmp_path / "out")

    return made


def test_what_is_measured_is_positive_and_only_what_is_needed(config, frozen):
    found = estimate.estimate(config(), lm=frozen)
    assert found.runs == 5
    assert found.seconds > 0
    assert min(found.speed.search, found.speed.soft, found.speed.whole) > 0
    alone = estimate.estimate(config(tuners=()), lm=frozen)
    assert (alone.speed.soft, alone.speed.whole) == (None, None)


def test_time_is_work_over_speed(config, frozen, monkeypatch):
    monkeypatch.setattr(estimate, "measure", lambda *given: SPEED)
    n_test, budget, n_dev = 29, 400, 8
    searches = 2 * (budget + n_test) / SPEED.search
    # A soft prompt: 3 rates of 60 updates of 8 examples and 12 looks at dev are more than 400.
    tuners = 2 * (budget + n_test) / SPEED.soft + (budget + n_test) / SPEED.whole
    assert estimate.estimate(config(), lm=frozen).seconds == pytest.approx(searches + tuners)
    twice = config(split_seeds=(0, 1), jobs=2)
    assert estimate.estimate(twice, lm=frozen).seconds == pytest.approx(searches + tuners)
    large = config(agents=(), tuners=("lora",), budgets=(100_000,))
    passes = 2 * (60 * 8 * 3 + 12 * n_dev) + 3 * n_dev
    wanted = (passes + n_test) / SPEED.whole
    assert estimate.estimate(large, lm=frozen).seconds == pytest.approx(wanted)


def test_what_was_done_takes_no_time(finished, settings, frozen, monkeypatch):
    config, _, _ = finished
    assert estimate.estimate(config, lm=frozen) is None
    more = CompareConfig(**settings | {"budgets": (800, 400, 900)}, out=config.out)
    monkeypatch.setattr(estimate, "measure", lambda *given: SPEED)
    found = estimate.estimate(more, lm=frozen)
    assert (found.runs, found.seconds) == (2, pytest.approx(2 * (900 + 29) / SPEED.search))
