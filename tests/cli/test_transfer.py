"""``rlprompt transfer``: its matrix, its files, and what it refuses."""

import json

import pytest

from rlprompt.cli import app
from rlprompt.testing import save_tiny


@pytest.fixture(scope="module")
def lms(tmp_path_factory):
    root = tmp_path_factory.mktemp("lms")
    return [save_tiny(root / family, family) for family in ("bert", "t5", "gpt2")]


def test_the_matrix_the_files_and_again(rlprompt, finished_run, lms, tmp_path, monkeypatch):
    monkeypatch.setattr(app.out, "width", 100)
    out = tmp_path / "transfer"
    words = ("transfer", finished_run, "--lms", ",".join(map(str, lms)), "--out", out)
    code, shown, err = rlprompt(*words)
    assert code == 0, err
    assert max(map(len, shown.splitlines())) <= 100
    value = json.loads((out / "transfer.json").read_text(encoding="utf-8"))
    assert [column["name"] for column in value["columns"][1:]] == ["bert", "t5", "gpt2"]
    for column in value["columns"]:
        assert column["name"] in shown
        for cell in column["cells"].values():
            for measure in ("accuracy", "log_likelihood"):
                low, high = cell["test"][f"{measure}_interval"]
                assert f"{cell['test'][measure]:.3f} [{low:.3f} {high:.3f}]" in shown
        for difference in column["cells"]["learned"]["differences"].values():
            each = difference["log_likelihood"]
            assert f"{each['value']:+.3f} [{each['low']:+.3f} {each['high']:+.3f}]" in shown
    flat = " ".join(shown.split())
    assert "films: 20 of 164 test examples" in flat
    assert "on 3 other LMs better on" in flat
    assert "'{text}{prompt} {mask}.'" in flat
    assert "Test was opened again" in flat
    assert "transfer to bert: 56/56 forwards" in err
    assert str(out / "transfer.md") in shown.replace("\n", "")
    assert (0, shown) == rlprompt(*words)[:2]


def test_what_is_missing_is_said_and_the_code_is_1(rlprompt, finished_run, lms):
    names = f"{lms[0]},/no/such"
    code, shown, err = rlprompt("transfer", finished_run, "--lms", names, "--test-limit", 5)
    assert code == 1
    assert "such: no score of learned, empty: No LM at '/no/such'" in " ".join(shown.split())
    assert "no score of" in err
    assert "5 of" in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Name LMs to score the prompt on"),
        (["--lms", "/no/such", "--dtype", "float33"], "Unknown dtype 'float33'"),
        (["--lms", "/no/such", "--test-limit", "0"], "test_limit must be 1 or more"),
    ],
)
def test_refusals(words, message, refused, finished_run):
    assert message in refused("transfer", finished_run, *words)


def test_a_folder_that_is_no_run_is_refused(refused, tmp_path):
    assert "No result at" in refused("transfer", tmp_path, "--lms", "smollm2")
