"""What stands on the pages, and that they are sound HTML that loads nothing."""

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest

import rlprompt
from rlprompt.core.files import write_json
from rlprompt.core.result import Result
from rlprompt.html.report import write_report
from rlprompt.html.scales import MINUS

LIMIT = 2_000_000
HOSTILE = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>&{{ 7 * 7 }}"


@pytest.fixture
def read(parse, tmp_path):
    """Returns a function that writes the report of a folder and reads it."""

    def report(folder, **options):
        path = tmp_path / "report.html"
        size = write_report(folder, path, **options)
        text = path.read_text(encoding="utf-8")
        assert size == path.stat().st_size < LIMIT
        return parse(text), text

    return report


def is_sound(page):
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(set(ids)) == len(ids)
    for tag, attrs in page.elements:
        for name in ("href", "src"):
            if name in attrs and (tag, attrs[name]) != ("link", "data:,"):
                assert attrs[name].startswith("#"), (tag, attrs)
                assert attrs[name][1:] in ids, attrs[name]
        assert not any(name.startswith("on") for name in attrs)
        if attrs.get("role") == "img":
            assert attrs["aria-label"]
        if "aria-labelledby" in attrs:
            assert attrs["aria-labelledby"] in ids
    assert len(page.all("h1")) == 1
    assert len(page.all("table")) == len(page.all("caption")) > 0
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in pairwise(levels))
    [policy] = [a for a in page.all("meta") if "http-equiv" in a]
    assert policy["content"].startswith("default-src 'none'")


def test_the_page_of_a_run(run, result, read):
    page, _ = read(run)
    is_sound(page)
    text = page.text
    for found in (result.main.found, *result.baselines.values()):
        scores = found.scores["test"]
        assert f"{scores.accuracy:.3f}" in text
        assert f"{scores.log_likelihood:.3f}".replace("-", MINUS) in text
        assert repr(found.prompt.text) in text
    for value in (
        result.lm["fingerprint"],
        *(split["hash"] for split in result.splits.values()),
        *result.versions.values(),
        f"{int(result.main.ledger['forwards']):,}",
        f"rlprompt explain {run}",
        f"rlprompt transfer {run} --lms",
    ):
        assert value in text
    assert "rlprompt optimize" in text


def test_explanation_and_transfer_are_shown_where_they_are(explained, result, moved, read):
    write_json(explained / "transfer" / "transfer.json", moved)
    page, _ = read(explained)
    is_sound(page)
    assert "rlprompt explain" not in page.text
    assert "rlprompt transfer" not in page.text
    effects = [a for a in page.all("span") if a.get("class") == "effect"]
    assert len(effects) == len(result.prompt.ids)
    assert "--tone: var(--good)" in effects[0]["style"]
    assert all("--tone: var(--bad)" in each["style"] for each in effects[1:])
    assert "Confusion between labels" in {a.get("aria-label") for a in page.all("div")}
    assert "Nothing of importance is missing." in page.text
    assert "+0.100[+0.050, +0.150]" in page.text
    assert "learned - empty, log-likelihood" in page.text


def test_a_transfer_elsewhere_can_be_named(run, moved, read, tmp_path):
    write_json(tmp_path / "moved" / "transfer.json", moved)
    page, _ = read(run, transfer=tmp_path / "moved")
    assert "Transfer matrix: Accuracy" in {a.get("aria-label") for a in page.all("div")}


def hostile(value, key=""):
    """Returns JSON whose every text, but for those that are looked up, ends in an attack."""
    if isinstance(value, dict):
        return {name: hostile(each, name) for name, each in value.items()}
    if isinstance(value, list):
        return [hostile(each, key) for each in value]
    kept = key in ("label", "labels", "fingerprint", "source")
    return value + HOSTILE if isinstance(value, str) and not kept else value


def test_no_text_can_become_markup(explained, moved, read):
    value = hostile(json.loads((explained / "result.json").read_text(encoding="utf-8")))
    found = Result.from_json(value)
    write_json(explained / "result.json", value)
    for name, beside in (
        ("explanation.json", json.loads((explained / "explanation.json").read_text("utf-8"))),
        ("transfer/transfer.json", moved),
    ):
        wrong = hostile(beside)
        if "runs" in wrong:
            wrong["runs"][0] |= {"prompt": found.prompt.text, "lm": found.lm}
        write_json(explained / name, wrong)
    page, text = read(explained)
    is_sound(page)
    assert len(page.all("script")) == 1
    assert not page.all("img")
    assert "{{ 7 * 7 }}" in page.text
    assert HOSTILE in page.text
    assert HOSTILE not in text


def test_the_page_of_a_comparison(comparison, read):
    page, _ = read(comparison)
    is_sound(page)
    found = json.loads((comparison / "comparison.json").read_text(encoding="utf-8"))
    for sentence in found["verdict"]:
        assert " ".join(sentence.split()) in page.text
    scored = [row for row in found["summary"] if row["log_likelihood"] is not None]
    assert len(scored) >= 6
    for row in scored:
        assert f"{row['log_likelihood']:.3f}".replace("-", MINUS) in page.text
    captions = [a["aria-label"] for a in page.all("div") if a.get("role") == "region"]
    assert captions.count("Pairwise differences") == 2  # budgets
    assert f"{len(found['tests'])} paired tests" in page.text
    assert "rlprompt compare" in page.text


def test_a_failed_method_is_on_the_page(comparison, read, tmp_path):
    found = json.loads((comparison / "comparison.json").read_text(encoding="utf-8"))
    last = found["summary"][-1]
    nothing = {key: None for key, value in last.items() if isinstance(value, float)}
    found["summary"][-1] = last | nothing | {"runs": 0, "failures": 2, "prompt": ""}
    method = last["method"]
    found["runs"] = [each for each in found["runs"] if each["method"] != method]
    setting = {"task": last["task"], "split_seed": 0, "method": method, "seed": 0, "budget": 240}
    found["failures"] = [{**setting, "error": "It broke <b>."}]
    write_json(tmp_path / "cmp" / "comparison.json", found)
    page, _ = read(tmp_path / "cmp")
    is_sound(page)
    assert "It broke <b>." in page.text
    assert "2 failed" in page.text


def test_nothing_in_the_folder_changes(explained, read):
    before = {path: path.read_bytes() for path in explained.rglob("*") if path.is_file()}
    read(explained)
    assert before == {path: path.read_bytes() for path in explained.rglob("*") if path.is_file()}


def test_the_same_folder_gives_the_same_page(explained, read):
    assert read(explained)[1] == read(explained)[1]


def test_every_template_is_package_data():
    tomllib = pytest.importorskip("tomllib")
    root = Path(rlprompt.__file__).parents[1]
    if not (root / "pyproject.toml").exists():
        pytest.skip("needs the checkout")
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["rlprompt.html"]
    package = root / "rlprompt" / "html"
    listed = {path for pattern in patterns for path in package.glob(pattern)}
    data = {p for p in package.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc")}
    assert data == listed
