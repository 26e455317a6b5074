"""What ``rlprompt report`` refuses, always in one sentence and with code 2."""

import json
import sys

import pytest

from rlprompt.cli import app, main


@pytest.fixture
def report(capsys, monkeypatch):
    """Returns a function that asks for a report; returns exit code and what was printed."""
    monkeypatch.setenv("COLUMNS", "200")
    for console in (app.out, app.err):
        monkeypatch.setattr(console, "width", 200)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def command(*words):
        monkeypatch.setattr(sys, "argv", ["rlprompt", "report", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        shown = capsys.readouterr()
        assert "Traceback" not in shown.err
        return code, " ".join((shown.out + shown.err).replace("│", " ").split())

    return command


def test_it_says_what_it_wrote(report, run, tmp_path):
    path = tmp_path / "page.html"
    code, shown = report(run, "--html", path)
    assert (code, shown) == (0, f"{path}: {path.stat().st_size / 1000:,.0f} kB")


def test_a_result_can_be_named_for_its_folder(report, run, tmp_path):
    assert report(run / "result.json", "--html", tmp_path / "page.html")[0] == 0


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("nowhere", "there is no such folder"),
        ("empty", "name the folder that --out"),
        ("begun", "it is not finished; give its command again"),
    ],
)
def test_no_finished_run(report, tmp_path, folder, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "config.json").write_text("{}")
    code, shown = report(tmp_path / folder, "--html", tmp_path / "page.html")
    assert code == 2
    assert message in shown
    assert not (tmp_path / "page.html").exists()


def test_a_page_into_a_missing_folder(report, run, tmp_path):
    code, shown = report(run, "--html", tmp_path / "missing" / "page.html")
    assert code == 2
    assert f"No folder {tmp_path / 'missing'} to write page.html into: make it first." in shown


def test_a_page_in_place_of_a_folder(report, run, tmp_path):
    code, shown = report(run, "--html", tmp_path)
    assert code == 2
    assert "is a folder: name a file" in shown


def cut(value):
    del value["ledger"]


def wrong_kind(value):
    value["budget"]["forwards"] = "many"


def other_schema(value):
    value["schema"] = 99


def no_test_scores(value):
    del value["scores"]["test"]


def no_label(value):
    value["calibration"] = {}


@pytest.mark.parametrize("damage", [cut, wrong_kind, other_schema, no_test_scores, no_label])
def test_a_damaged_result(report, run, tmp_path, damage):
    path = run / "result.json"
    value = json.loads(path.read_text(encoding="utf-8"))
    damage(value)
    path.write_text(json.dumps(value), encoding="utf-8")
    code, shown = report(run, "--html", tmp_path / "page.html")
    assert code == 2, shown
    assert "damaged" in shown or "no result of schema" in shown
    assert not (tmp_path / "page.html").exists()


def test_a_result_that_is_no_json(report, run, tmp_path):
    (run / "result.json").write_text("{", encoding="utf-8")
    code, shown = report(run, "--html", tmp_path / "page.html")
    assert code == 2
    assert "Cannot read" in shown


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": 1}', '{"schema": 2}'])
def test_a_damaged_comparison(report, tmp_path, text):
    (tmp_path / "comparison.json").write_text(text, encoding="utf-8")
    code, shown = report(tmp_path, "--html", tmp_path / "page.html")
    assert code == 2
    assert "comparison.json" in shown


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": 1}', '{"schema": 2}'])
def test_a_damaged_explanation_or_transfer(report, run, tmp_path, text):
    (run / "explanation.json").write_text(text, encoding="utf-8")
    assert report(run, "--html", tmp_path / "page.html")[0] == 2
    (run / "explanation.json").unlink()
    (run / "transfer").mkdir()
    (run / "transfer" / "transfer.json").write_text(text, encoding="utf-8")
    code, shown = report(run, "--html", tmp_path / "page.html")
    assert code == 2
    assert "transfer.json" in shown


def test_a_transfer_of_another_run(report, run, moved, tmp_path):
    moved["runs"][0]["prompt"] = " another prompt"
    (tmp_path / "moved").mkdir()
    path = tmp_path / "moved" / "transfer.json"
    path.write_text(json.dumps(moved), encoding="utf-8")
    code, shown = report(run, "--html", tmp_path / "p.html", "--transfer", tmp_path / "moved")
    assert code == 2
    assert "is of other prompts (' another prompt')" in shown
    code, shown = report(run, "--html", tmp_path / "p.html", "--transfer", tmp_path)
    assert code == 2
    assert "rlprompt transfer writes it" in shown


def test_an_explanation_of_another_prompt(report, explained, tmp_path):
    path = explained / "explanation.json"
    value = json.loads(path.read_text(encoding="utf-8"))
    value["prompt"]["ids"] = [0]
    path.write_text(json.dumps(value), encoding="utf-8")
    code, shown = report(explained, "--html", tmp_path / "page.html")
    assert code == 2
    assert "is of another prompt" in shown


def test_without_jinja2_it_says_what_to_install(report, run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    code, shown = report(run, "--html", tmp_path / "page.html")
    assert code == 2
    assert "pip install rlprompt[report]" in shown
