"""A small finished run, with all that may stand beside it, and a small comparison."""

import json
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from rlprompt import RunConfig, optimize
from rlprompt.core.result import Result
from rlprompt.core.statistics import Estimate
from rlprompt.explain import records
from rlprompt.run.transfer_table import Cell, Column, Difference, Row, Transfer

pytest.importorskip("jinja2")
pytest.importorskip("stable_baselines3")

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """HTML read strictly: what is opened is closed, in order. All elements and texts."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements = []
        self.texts = []
        self._open = []
        self.feed(text)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f"{tag} has an attribute twice: {attrs}"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] not in ("style", "script"):
            self.texts.append(data)

    @property
    def text(self):
        return " ".join("".join(self.texts).split())

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture
def parse():
    """Reads HTML; see ``Page``."""
    return Page


@pytest.fixture(scope="session")
def config(films, tiny_lm):
    settings = {"budget": 400, "shots": 4, "length": 3, "test_limit": 20, "controls": ["random"]}
    words = {"bad": "bad", "good": "good"}
    return RunConfig(task=str(films), lm=str(tiny_lm), words=words, **settings)


@pytest.fixture(scope="session")
def finished(config, tmp_path_factory):
    """Folder of a finished run; to be read only."""
    out = tmp_path_factory.mktemp("runs") / "films"
    optimize(replace(config, out=out))
    return out


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the run, to do anything with."""
    return shutil.copytree(finished, tmp_path / "films")


@pytest.fixture
def result(run):
    return Result.load(run / "result.json")


@pytest.fixture
def explained(run, result):
    """The copy with an explanation in it."""
    records.save(run, explanation_of(result))
    return run


@pytest.fixture(scope="session")
def comparison(films, tiny_lm, tmp_path_factory):
    """Folder of a finished comparison."""
    for package in ("matplotlib", "pandas", "scipy"):
        pytest.importorskip(package)
    from rlprompt.compare.compare import compare
    from rlprompt.compare.config import CompareConfig

    out = tmp_path_factory.mktemp("comparisons") / "cmp"
    values = {
        "tasks": [str(films)],
        "agents": ["random", "genetic", "categorical"],
        "fixed": ["empty"],
        "budgets": [160, 240],
        "split_seeds": [0, 1],
        "lm": str(tiny_lm),
        "shots": 4,
        "length": 2,
        "test_limit": 20,
        "vocabulary_size": 40,
    }
    compare(CompareConfig.parse({**values, "out": out}))
    return out


@pytest.fixture
def moved(result):
    """What ``transfer.json`` holds of the run."""
    return json.loads(json.dumps(transfer_of(result).to_json()))


def difference_of(value, low, high):
    return Difference(Estimate(0.1, -0.1, 0.2), Estimate(value, low, high))


def explanation_of(result):
    """An explanation with one of everything."""
    prompt, labels = result.prompt, tuple(result.task["labels"])
    worse = difference_of(-0.2, -0.3, -0.1)
    variant = records.Variant("", (), 0.5, -0.7, result.main.found.calibration, worse, 8)
    swap = records.Swap(" words", 0.5, replace(variant, versus=difference_of(0.01, -0.1, 0.1)))
    tokens = tuple(
        records.TokenEffect(
            position=n,
            slot=0,
            token=token,
            id=number,
            left_out=variant,
            alone=variant,
            prefix=None,
            adds=worse,
            share=Estimate(0.2 - 0.3 * n, -0.1, 0.3),
            swaps=(swap,),
        )
        for n, (token, number) in enumerate(zip(prompt.tokens, prompt.ids, strict=True))
    )
    reworded = records.Reworded(
        "another template", result.template, result.verbalizer, variant, variant, worse
    )
    bins = (records.Bin(0.5, 0.75, 12, 0.6, 0.7), records.Bin(0.75, 1.0, 8, 0.9, 0.85))
    curve = records.Reliability(bins, 0.07)
    seen = records.OnTest(prompt.text, ((7, 3), (2, 8)), ((9, 1), (9, 1)), curve, curve)
    case = records.Case(
        3, {"text": "A film."}, labels[0], 0.3, dict.fromkeys(labels, 0.5), dict.fromkeys(labels, 0)
    )
    duel = records.Duel(worse, 10, 5, 3, 2, (case,), (case,))
    test = records.HeldOut(20, "to explain", 0, {"learned": seen, "empty": seen}, duel)
    return records.Explanation(
        prompt=prompt,
        labels=labels,
        base={"learned": variant, "empty": variant},
        tokens=tokens,
        orders=records.Orders(6, (variant,), None),
        templates=(reworded,),
        label_words=(reworded,),
        test=test,
        left_out=("Nothing of importance is missing.",),
        task=result.task,
        lm=result.lm,
        template=result.template,
        verbalizer=result.verbalizer,
        splits=result.splits,
        settings={},
        ledger={"forwards": 8, "free": 0, "tokens": 8, "seconds": 0.1, "wanted": 8},
        versions=result.versions,
    )


def transfer_of(result):
    """A matrix of the run's prompt and the empty one on its own LM and on another."""
    found = result.main.found
    gap = difference_of(0.1, 0.05, 0.15)
    cell = Cell(
        result.template,
        found.prompt,
        True,
        found.calibration,
        found.scores["train"],
        found.scores["test"],
        {"train": 0, "test": 0},
        {"empty": gap},
    )
    rows = (
        Row("learned", "learned", found.prompt.text, "films", {"empty": "empty"}),
        Row("empty", "empty", "", "films"),
    )
    own = Column("own", result.lm, ("learned",), {"learned": cell, "empty": cell}, 8, 8, 0.1)
    other = Column("other", {**result.lm, "family": "masked"}, (), {"learned": cell}, 8, 8, 0.1)
    run = {"prompt": found.prompt.text, "lm": result.lm, "name": "films"}
    test = {"hash": "", "size": 20, "scored": 20, "opened": ""}
    return Transfer(rows, (own, other), (), result.task, test, (run,), result.versions)
