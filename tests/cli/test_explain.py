"""``rlprompt explain``: what it prints, and what it refuses."""

import json
import shutil
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from rlprompt.cli import app
from rlprompt.cli.show_explain import show_explanation
from rlprompt.explain.records import Explanation, Orders, load

FLAGS = ("--orders", 3, "--swaps", 2, "--label-words", 1, "--examples", 1)


@pytest.fixture(scope="module")
def folder(finished_run, tmp_path_factory):
    return shutil.copytree(finished_run, tmp_path_factory.mktemp("explain") / "run")


def test_the_tables_the_file_and_again(rlprompt, folder):
    code, shown, err = rlprompt("explain", folder, *FLAGS)
    assert code == 0, err
    assert "label words: 16/16 forwards" in err
    found = load(folder)
    flat = " ".join(shown.split())
    assert repr(found.prompt.text) in flat
    for token in found.tokens:
        assert repr(token.token) in shown
        for swap in token.swaps:
            assert f"{swap.by!r} {swap.similarity:.2f} {swap.variant.accuracy:.3f}" in flat
    for row in (*found.templates, *found.label_words):
        assert row.name in shown
    assert f"{found.base['empty'].log_likelihood:.3f}" in shown
    assert "test: 20 examples; cost: nothing" in flat
    assert f"Spent: {found.ledger['forwards']:,} of " in flat
    assert str(folder / "explanation.json") in shown.replace("\n", "")

    code, again, err = rlprompt("explain", folder, *FLAGS)
    assert (code, again, err) == (0, shown, "")


@pytest.mark.parametrize(("count", "hidden"), [(1, 0), (4, 0), (7, 0), (9, 3)])
def test_orders_in_the_middle_are_counted(count, hidden, folder, rlprompt):
    rlprompt("explain", folder, *FLAGS)
    found = load(folder)
    variants = tuple(replace(found.base["empty"], text=f"order {n}") for n in range(count))
    shown = Console(width=100, record=True, file=StringIO())
    show_explanation(shown, replace(found, orders=Orders(99, variants, 0), left_out=()), folder)
    table = shown.export_text().partition("other orders")[2]
    assert sum(f"'order {n}'" in table for n in range(count)) == count - hidden
    assert ("3 more" in table) == bool(hidden)
    assert table.index("'order 0'") <= table.index(f"'order {count - 1}'")


def test_json_is_what_the_file_holds(rlprompt, folder):
    rlprompt("explain", folder, *FLAGS)
    code, shown, _ = rlprompt("explain", folder, *FLAGS, "--json")
    assert code == 0
    assert Explanation.from_json(json.loads(shown)) == load(folder)


@pytest.mark.parametrize("width", [80, 120])
def test_the_tables_fit_a_terminal(width, rlprompt, folder, monkeypatch):
    monkeypatch.setattr(app.out, "width", width)
    code, shown, err = rlprompt("explain", folder, *FLAGS)
    assert code == 0, err
    tables = shown[: shown.index("Differences are in nats")]
    assert max(map(len, tables.splitlines())) <= width


def test_refusals(refused, folder, tmp_path):
    assert "there is no such folder" in refused("explain", tmp_path / "none")
    assert "orders must be 0 or more" in refused("explain", folder, "--orders", -1)
    other = shutil.copytree(folder, tmp_path / "run")
    (other / "result.json").unlink()
    assert "not finished" in refused("explain", other)
