"""The check finds what differs, keeps to its process and its time, and says what is missing."""

import json
import shutil
import sys
from dataclasses import replace

import pytest

from rlprompt import RunConfig, optimize
from rlprompt.export import targets
from rlprompt.export.check import compare
from rlprompt.export.export import export
from rlprompt.export.protocol import Reading

ONE = Reading("Fine. So", (1, 2, 3), {"bad": -0.9, "good": -0.5})


def test_equal_readings_pass():
    other = replace(ONE, logprobs={"bad": -0.9 + 9e-5, "good": -0.5})
    check = compare("tool 1", [ONE, ONE], [ONE, other], "float32")
    assert (check.outcome, check.inputs, check.ids, check.reason) == ("passed", 2, 2, "")
    assert check.difference == pytest.approx(9e-5)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"text": "Fine.  So"}, "the input is 'Fine.  So', not 'Fine. So'"),
        ({"ids": (1, 2, 4)}, "token ids end in (1, 2, 4), not (1, 2, 3)"),
        ({"logprobs": {"bad": -0.9, "good": -0.4998}}, "differ by up to 0.0002 nats"),
        ({"logprobs": {"bad": -0.9, "good": float("nan")}}, "differ by up to inf nats"),
        ({"logprobs": {"bad": -0.9, "best": -0.5}}, "other labels"),
    ],
)
def test_any_difference_fails(change, reason):
    check = compare("tool 1", [ONE, ONE], [ONE, replace(ONE, **change)], "float32")
    assert check.outcome == "failed"
    assert reason in check.reason
    json.dumps(check.to_json(), allow_nan=False)


def test_a_missing_reading_fails():
    check = compare("tool 1", [ONE, ONE], [ONE], "float32")
    assert (check.outcome, check.reason) == ("failed", "tool 1 read 1 of 2 examples")


def test_half_precision_may_differ_more():
    other = replace(ONE, logprobs={"bad": -0.9, "good": -0.49})
    assert compare("tool 1", [ONE], [other], "bfloat16").outcome == "passed"


def test_it_is_read_in_a_process_of_its_own(run_of, tmp_path):
    before = {*sys.modules}
    found = export(run_of("llama"), "json", tmp_path / "prompt.json", threads=1)
    assert found.check.outcome == "passed", found.check.reason
    assert found.check.examples == found.check.inputs == found.check.ids == 8
    # Of the child's side nothing was imported here.
    assert not [m for m in {*sys.modules} - before if m.startswith("rlprompt.export.plain.")]


def test_a_process_that_ends_badly(run_of, tmp_path):
    found = export(run_of("llama"), "json", tmp_path / "prompt.json", python="false")
    assert found.check.outcome == "failed"
    assert found.check.reason == "exit code 1"


def test_the_time_limit(run_of, tmp_path):
    found = export(run_of("llama"), "json", tmp_path / "prompt.json", seconds=0.01)
    assert found.check.outcome == "failed"
    assert "took over 0 s" in found.check.reason


def test_a_missing_library_is_named_and_the_export_unchecked(run_of, tmp_path, monkeypatch):
    def missing(name):
        raise targets.PackageNotFoundError(name)

    monkeypatch.setattr(targets, "version", missing)
    found = export(run_of("llama"), "langchain", tmp_path / "prompt.json")
    assert found.check.outcome == "unchecked"
    assert found.check.reason == "what reads it is not installed: pip install langchain-core"
    about = json.loads(found.about.read_text(encoding="utf-8"))
    assert about["check"]["outcome"] == "unchecked"


def test_without_the_data_it_is_checked_on_plain_sentences(films, tiny_lm, read_here, tmp_path):
    data = tmp_path / "films.csv"
    shutil.copy(films, data)
    settings = {"agent": "random", "budget": 400, "shots": 4, "length": 3, "test_limit": 20}
    optimize(RunConfig(task=str(data), lm=str(tiny_lm), **settings, out=tmp_path / "run"))
    data.unlink()
    found = read_here(tmp_path / "run", "text", tmp_path / "prompt.txt")
    assert (found.check.outcome, found.check.examples) == ("passed", 3)
    assert "data are not here" in found.note


def test_another_prompt_in_the_file_fails(run_of, read_here, tmp_path, monkeypatch):
    from rlprompt.export.formats.text import TextFile

    monkeypatch.setattr(
        TextFile, "write", lambda self, artifact, path, lm: path.write_text(" a movie")
    )
    found = read_here(run_of("llama"), "text", tmp_path / "prompt.txt")
    assert found.check.outcome == "failed"
    assert "the input is" in found.check.reason
