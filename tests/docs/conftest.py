"""What stands in for large things when the blocks of the documentation are run.

* ``smollm2`` and the hub ids that the pages name are tiny LMs of the same family.
* ``movie-reviews`` is a small task of the same labels and words.
* A run has at most ``BUDGET`` LM forwards, ``TESTED`` test examples and ``WORDS`` words.
* Each page has a folder of its own, with ``reviews.csv`` and ``more.csv``, and the finished runs
  that it takes for granted: those that no command or code on it makes. ``runs/cmp`` is a finished
  comparison.

Nothing else differs from what a reader runs.
"""

import csv
import shutil
import sys
from types import SimpleNamespace

import pytest

from rlprompt import RunConfig, Task, optimize
from rlprompt.cli import app
from rlprompt.compare.compare import compare
from rlprompt.compare.config import CompareConfig
from rlprompt.core.registry import Registration
from rlprompt.lm.loading import LMS, Source
from rlprompt.tasks.registry import TASKS
from rlprompt.testing import save_tiny

BUDGET, TESTED, WORDS = 1700, 20, 24
#: Family of the tiny LM that stands in for each that a page names.
LARGE = {
    "smollm2": "llama",
    "openai-community/gpt2": "gpt2",
    "FacebookAI/roberta-base": "roberta",
    "FacebookAI/roberta-large": "roberta",
    "minilm-mlm": "bert",
    "google/flan-t5-base": "t5",
}


@pytest.fixture(scope="session")
def stand_ins(tmp_path_factory, film_rows):
    """A module with a source for each large LM, by its name, and the small task."""
    folder = tmp_path_factory.mktemp("stand-ins")
    saved = {family: save_tiny(folder / family, family) for family in set(LARGE.values())}
    made = SimpleNamespace(
        **{
            name: lambda family=family: Source(str(saved[family]), None, local=True)
            for name, family in LARGE.items()
        }
    )
    names = {"bad": "negative", "good": "positive"}
    rows = [(text, names[label]) for text, label in film_rows]

    def movie_reviews(seed, shots):
        return Task.from_examples(
            rows,
            words={"negative": "bad", "positive": "good"},
            shots=min(shots, 40),
            seed=seed,
            name="movie-reviews",
            manual_prompts=(" It was", " This movie is"),
        )

    made.movie_reviews = movie_reviews
    return made


@pytest.fixture
def small(stand_ins, monkeypatch):
    """Puts the stand-ins in place, and the limits."""
    import huggingface_hub.constants

    import rlprompt.envs.make

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    _register(monkeypatch, stand_ins)
    _cap(monkeypatch, RunConfig, budget=BUDGET, test_limit=TESTED, vocabulary_size=WORDS)
    rlprompt.envs.make.forget_parts()
    yield
    rlprompt.envs.make.forget_parts()


def _register(monkeypatch, stand_ins):
    """Gives the stand-ins the names of what they stand for."""
    monkeypatch.setitem(sys.modules, "stand_ins", stand_ins)
    for name in LARGE:
        monkeypatch.setitem(LMS._entries, name, Registration(f"stand_ins:{name}", "tiny"))
    task = Registration("stand_ins:movie_reviews", "small")
    monkeypatch.setitem(TASKS._entries, "movie-reviews", task)


def _cap(monkeypatch, kind, **limits):
    """Lowers fields of a frozen dataclass to a limit when it is made."""
    check = kind.__post_init__

    def lowered(self):
        for name, most in limits.items():
            given = getattr(self, name)
            object.__setattr__(self, name, most if given is None else min(given, most))
        check(self)

    monkeypatch.setattr(kind, "__post_init__", lowered)


@pytest.fixture(scope="session")
def a_run(tmp_path_factory, tiny_lm, stand_ins):
    """Folder of a finished run of the small task, for pages that take one for granted."""
    out = tmp_path_factory.mktemp("runs") / "demo"
    with pytest.MonkeyPatch.context() as patch:
        _register(patch, stand_ins)
        settings = {"budget": 800, "shots": 4, "length": 3, "test_limit": TESTED, "seed": 3}
        optimize(RunConfig(agent="genetic", **settings, vocabulary_size=WORDS, out=out))
    return out


@pytest.fixture(scope="session")
def a_comparison(tmp_path_factory, tiny_lm, films):
    """Folder of a finished comparison."""
    out = tmp_path_factory.mktemp("runs") / "cmp"
    run = {"lm": str(tiny_lm), "shots": 4, "length": 3, "test_limit": TESTED}
    methods = {"agents": ("random", "genetic"), "budgets": (400,), "split_seeds": (0,)}
    compare(CompareConfig(tasks=(str(films),), **methods, run=run, out=out))
    return out


@pytest.fixture
def provide(request, workspace):
    """Returns a function that puts a finished run or comparison where a page expects it."""

    def put(name):
        source = request.getfixturevalue("a_comparison" if name == "runs/cmp" else "a_run")
        shutil.copytree(source, workspace / name)

    return put


@pytest.fixture
def workspace(small, film_rows, tmp_path, monkeypatch):
    """The folder that a page's blocks run in; it is the current one, and on the path."""
    stars = {"bad": "1", "good": "5"}
    for name, rows in (("reviews.csv", film_rows[:150]), ("more.csv", film_rows[150:])):
        with (tmp_path / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("review", "stars"))
            writer.writerows((text, stars[label]) for text, label in rows)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("COLUMNS", "100")
    for console in (app.out, app.err):
        monkeypatch.setattr(console, "width", 100)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if file.startswith(str(tmp_path)):
            del sys.modules[name]
