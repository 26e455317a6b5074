"""Small comparisons with a tiny LM, one of them finished once for all tests that only look."""

import csv
import importlib
import json
from pathlib import Path

import pytest

from rlprompt.compare import folder
from rlprompt.compare.compare import compare
from rlprompt.compare.config import CompareConfig
from rlprompt.core.trials import Setting
from rlprompt.lm.loading import LMConfig, load_lm

#: Test examples that are scored: no other split is as large.
TESTED = 29


@pytest.fixture(scope="session")
def frozen(tiny_lm):
    """The tiny LM, loaded."""
    return load_lm(LMConfig(str(tiny_lm)))


@pytest.fixture(scope="session")
def settings(films, tiny_lm):
    """Keyword arguments of a CompareConfig whose runs take a moment; all but ``out``."""
    return {
        "tasks": (str(films),),
        "agents": ("random", "genetic"),
        "budgets": (400,),
        "split_seeds": (0,),
        "run": {
            "lm": str(tiny_lm),
            "shots": 4,
            "length": 3,
            "test_limit": TESTED,
            "manual_prompts": (" It was", " overall a"),
            "vocabulary_size": 100,
        },
    }


@pytest.fixture(scope="session")
def finished(settings, frozen, tmp_path_factory):
    """Configuration, result and news of a comparison with figures and all."""
    config = CompareConfig(
        **settings
        | {
            "agents": ("random", "genetic", "random+racing"),
            "budgets": (800, 400),
            "split_seeds": (0, 1),
            "seeds": (0, 1),
        },
        out=tmp_path_factory.mktemp("runs") / "finished",
    )
    news = []
    return config, compare(config, lm=frozen, on_news=news.append), news


class Comparison:
    """A comparison in a folder, to be started any number of times, with changes in between."""

    def __init__(self, settings, frozen, out):
        self.settings = settings
        self.frozen = frozen
        self.out = out
        self.news = []

    def config(self, **changes):
        run = {**self.settings["run"], **changes.pop("run", {})}
        return CompareConfig(**{**self.settings, "run": run, "out": self.out, **changes})

    def start(self, **changes):
        """Runs what is not done; changes stay."""
        config = self.config(**changes)
        self.settings = {**self.settings, **changes, "run": config.run}
        self.out = Path(self.settings.pop("out", self.out))
        self.news = []
        return compare(config, lm=self.frozen, on_news=self.news.append)

    @property
    def lines(self):
        return [news.line for news in self.news if news.line]

    def group(self, split_seed=0, task=None):
        return folder.group_folder(self.out, task or self.settings["tasks"][0], split_seed)

    def record(self, method, budget=400, *, seed=0, split_seed=0, task=None):
        """Returns the file of a run, read."""
        task = task or self.settings["tasks"][0]
        path = folder.run_file(self.out, Setting(task, split_seed, method, seed, budget))
        return json.loads(path.read_text(encoding="utf-8"))

    def tested(self, split_seed=0, task=None):
        path = self.group(split_seed, task) / folder.TEST
        return json.loads(path.read_text(encoding="utf-8"))

    def scored(self, split_seed=0):
        """Context and prompt of every entry of a group's evaluation log."""
        return scored(self.group(split_seed) / folder.EVALUATIONS)


def scored(path):
    entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [(entry["context"], tuple(ids)) for entry in entries for ids in entry["prompts"]]


@pytest.fixture
def plain(monkeypatch):
    """Figures take longer than everything else, and one finished comparison has them."""
    monkeypatch.setattr("rlprompt.report.figures.write_figures", lambda *args, **rest: [])


@pytest.fixture
def comparison(settings, frozen, tmp_path, plain):
    """A comparison of two agents on one split."""
    return Comparison(settings, frozen, tmp_path / "comparison")


@pytest.fixture
def another(comparison, tmp_path):
    """Returns a function that makes the same comparison in another folder."""
    return lambda name: Comparison(comparison.settings, comparison.frozen, tmp_path / name)


@pytest.fixture
def doubles(monkeypatch):
    """The module ``doubles``, which agents and rewards can be named from."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    module = importlib.import_module("doubles")
    module.forget()
    return module


@pytest.fixture
def ready(tmp_path):
    """Returns a function that writes a folder of ready splits, its test labels permuted or not."""

    def write(name, rows, permute=lambda labels: labels):
        base = tmp_path / name
        base.mkdir()
        labels = permute([label for _, label in rows[32:]])
        held_out = [(text, label) for (text, _), label in zip(rows[32:], labels, strict=True)]
        for split, part in (("train", rows[:16]), ("dev", rows[16:32]), ("test", held_out)):
            path = base / f"{split}.tsv"
            with path.open("w", encoding="utf-8", newline="") as file:
                csv.writer(file, delimiter="\t").writerows([("text", "label"), *part])
        return base

    return write
