import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest

from rlprompt.core.errors import RunError
from rlprompt.core.files import write_json, write_text
from rlprompt.core.hashing import content_hash
from rlprompt.core.statistics import bootstrap_mean


def test_equal_content_has_equal_hashes():
    assert content_hash({"a": (1, 2), "b": "é"}) == content_hash({"b": "é", "a": [1, 2]})
    assert content_hash([1, 2]) != content_hash([2, 1])
    assert content_hash(["ab", "c"]) != content_hash(["a", "bc"])
    assert content_hash("1") != content_hash(1)
    assert len(content_hash("x", length=8)) == 8
    # The same on every machine and in every version: it names what is in a user's files.
    assert content_hash({"a": [1, 2.5, None, "é"]}) == "d10f86951f044307"


def test_files_are_written_whole_in_new_folders(tmp_path):
    path = tmp_path / "new" / "result.json"
    write_json(path, {"text": "é\n", "n": 1})
    assert json.loads(path.read_text(encoding="utf-8")) == {"text": "é\n", "n": 1}
    assert path.read_bytes().endswith(b"}\n")
    assert "é" in path.read_text(encoding="utf-8")
    write_text(path, "one\r\ntwo\n")
    assert path.read_bytes() == b"one\r\ntwo\n"
    assert [*path.parent.iterdir()] == [path]


@pytest.mark.parametrize("value", [{"x": math.nan}, [math.inf], {"x": object()}])
def test_what_is_no_json_is_refused_and_the_old_file_stays(tmp_path, value):
    path = tmp_path / "result.json"
    write_json(path, 1)
    with pytest.raises((ValueError, TypeError)):
        write_json(path, value)
    assert path.read_text() == "1\n"
    assert [*tmp_path.iterdir()] == [path]


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    write_text(path, "old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"Cannot write .*result\.json: No space left on device\."):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert [*tmp_path.iterdir()] == [path]


def test_a_folder_that_is_a_file_is_an_error_for_the_user(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="Cannot write"):
        write_text(tmp_path / "file" / "result.json", "x")


def test_the_interval_holds_the_mean_and_repeats():
    values = np.random.default_rng(0).random(200)
    estimate = bootstrap_mean(values)
    assert estimate.value == values.mean()
    assert estimate.low < estimate.value < estimate.high
    assert bootstrap_mean(values) == estimate
    assert bootstrap_mean(values, seed=1) != estimate
    # The normal approximation of the same interval.
    error = values.std() / math.sqrt(200)
    assert estimate.low == pytest.approx(values.mean() - 1.96 * error, abs=0.2 * error)
    assert estimate.high == pytest.approx(values.mean() + 1.96 * error, abs=0.2 * error)


def test_more_examples_narrow_the_interval():
    coin = np.arange(1000) % 2.0
    few, many = bootstrap_mean(coin[:50]), bootstrap_mean(coin)
    assert many.high - many.low < 0.3 * (few.high - few.low)


def test_equal_values_have_no_spread():
    estimate = bootstrap_mean(np.ones(7))
    assert (estimate.low, estimate.value, estimate.high) == (1.0, 1.0, 1.0)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(3)
    covered = 0
    for _ in range(200):
        estimate = bootstrap_mean((generator.random(100) < 0.7).astype(float), resamples=400)
        covered += estimate.low <= 0.7 <= estimate.high
    assert 0.88 <= covered / 200 <= 0.99


def test_core_loads_neither_torch_nor_transformers():
    code = (
        "import sys, importlib, pkgutil, rlprompt.core as core\n"
        "for m in pkgutil.iter_modules(core.__path__):\n"
        "    importlib.import_module(f'rlprompt.core.{m.name}')\n"
        "print([m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
