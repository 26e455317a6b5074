"""The study of lengths and starts: methods are what their names say, and the figure shows them."""

import importlib
import tomllib
from pathlib import Path

import pytest

from rlprompt.compare.config import CompareConfig
from rlprompt.tuning.protocol import make_tuner

FOLDER = Path(__file__).parents[2] / "benchmarks" / "lengths"


@pytest.fixture
def config(tmp_path):
    values = tomllib.loads((FOLDER / "config.toml").read_text(encoding="utf-8"))
    return CompareConfig.parse(values | {"out": tmp_path})


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("study")


def test_names_say_what_the_methods_are(config):
    assert len(config.tuners) == 4 * 5
    for name in config.tuners:
        method = config.method(name)
        tuner = make_tuner(method.tuner, method.settings)
        assert name == f"{tuner.init} {tuner.length}"


def test_the_figure_has_a_line_for_each_start(study):
    def row(method, fixed, value):
        found = {"method": method, "fixed": fixed}
        for metric in ("accuracy", "log_likelihood"):
            found |= {metric: value, f"{metric}_low": value - 1, f"{metric}_high": value + 1}
        return found

    rows = [row(f"{init} {n}", False, n / 10) for init in ("vocab", "text") for n in (20, 1, 5)]
    figure = study.drawn({"summary": [*rows, row("manual", True, 0.5)]})
    for axes in figure.axes:
        lines = {c.get_label(): c.lines[0].get_ydata().tolist() for c in axes.containers}
        assert lines == {init: [0.1, 0.5, 2.0] for init in ("vocab", "text")}
