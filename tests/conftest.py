"""A small task and a tiny LM as files, for runs that need nothing from outside."""

import csv
import os

import pytest
from hypothesis import settings

from rlprompt.testing import planted_task, save_tiny

# The same examples at every run, so that what fails was broken by the change at hand.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")

# Read when torch is loaded. A tiny LM gains nothing from threads, which wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def tiny_lm(tmp_path_factory):
    """Folder of a tiny causal LM."""
    return save_tiny(tmp_path_factory.mktemp("tiny-lm"))


@pytest.fixture(scope="session")
def film_rows():
    """Pairs of a sentence about a film and 'bad' or 'good'."""
    task = planted_task(60, 60, 60)
    examples = [*task.train, *task.dev, *task.test.examples]
    return [(example.fields["text"], ("bad", "good")[example.label]) for example in examples]


@pytest.fixture(scope="session")
def films(tmp_path_factory, film_rows):
    """CSV file with the columns text and label."""
    path = tmp_path_factory.mktemp("films") / "films.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *film_rows])
    return path
