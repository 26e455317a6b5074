"""Few-shot splits: small, balanced, disjoint, the same for the same seed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rlprompt.core.errors import ConfigError, DataError
from rlprompt.core.hashing import content_hash
from rlprompt.tasks.examples import Example, Split
from rlprompt.tasks.template import Template


@dataclass(frozen=True)
class Splits:
    """Three disjoint splits.

    Attributes:
        train: examples to search with.
        dev: examples to select with.
        test: examples to report on; whoever makes a task of it seals it.
        reports: what was dropped, one sentence each.
    """

    train: Split
    dev: Split
    test: Split
    reports: tuple[str, ...] = ()


def k_shot(
    examples: Sequence[Example],
    labels: Sequence[str],
    shots: int,
    seed: int,
    test: Sequence[Example] | None = None,
    test_size: int | None = None,
) -> Splits:
    """Draws ``shots`` examples a class for train and as many for dev.

    The setting of Gao et al. 2021 (arXiv:2012.15723, sec. 3): dev is as large as train, since a
    larger one would be a hidden source of supervision. No input stands in two splits, compared
    after folding case, width and white space.

    Args:
        examples: the pool; duplicates are dropped first, those with conflicting labels altogether.
        labels: names of the labels, for messages.
        shots: examples a class in train, and in dev.
        seed: seed of the draw; the order of the pool matters too.
        test: the test set, if there is one; what it holds is dropped from the pool, and it stays
            the same for every seed. Without it, the rest of the pool is test.
        test_size: upper limit for the size of test. A given test set is cut to a fixed sample,
            the rest of the pool to one drawn with ``seed``.

    Raises:
        ConfigError: shots, seed or test_size is out of range.
        DataError: a class has fewer than ``2 * shots`` examples, or nothing is left for test.
    """
    _check_numbers(shots, seed, test_size)
    pool, reports = drop_duplicates(examples)
    if test is not None:
        pool, more = _without(pool, test, "test")
        reports += more
    _check_enough(pool, labels, shots)

    generator = np.random.default_rng(seed)
    train: list[int] = []
    dev: list[int] = []
    for label in range(len(labels)):
        members = [i for i, example in enumerate(pool) if example.label == label]
        drawn = generator.permutation(members).tolist()
        train += drawn[:shots]
        dev += drawn[shots : 2 * shots]
    used = {*train, *dev}
    rest = generator.permutation([i for i in range(len(pool)) if i not in used]).tolist()
    if test is None:
        held_out = [pool[i] for i in rest[:test_size]]
    else:
        held_out = fixed_sample(test, test_size)
    if not held_out:
        raise DataError(
            f"Nothing is left for test: the {len(pool)} examples all go to train and dev with "
            f"{shots} shots. Give more examples, fewer shots, or a test set."
        )
    return Splits(
        Split("train", tuple(pool[i] for i in generator.permutation(train).tolist())),
        Split("dev", tuple(pool[i] for i in generator.permutation(dev).tolist())),
        Split("test", tuple(held_out)),
        tuple(reports),
    )


def ready_splits(
    train: Sequence[Example],
    dev: Sequence[Example],
    test: Sequence[Example],
    test_size: int | None = None,
) -> Splits:
    """Takes splits as somebody made them, less what makes them overlap.

    Test wins over dev and dev over train, so that a published test set stays what it is; published
    few-shot folders do hold a few overlaps.

    Args:
        train: examples to search with.
        dev: examples to select with.
        test: examples to report on.
        test_size: upper limit for the size of test; a fixed sample is taken.

    Raises:
        DataError: nothing is left of train or dev.
    """
    _check_numbers(1, 0, test_size)
    reports: list[str] = []
    kept: dict[str, list[Example]] = {}
    for name, split, others, where in (
        ("dev", dev, test, "test"),
        ("train", train, [*test, *dev], "dev or test"),
    ):
        unique, dropped = drop_duplicates(split)
        kept[name], overlapping = _without(unique, others, where)
        reports += [f"{name}: {report}" for report in (*dropped, *overlapping)]
        if not kept[name]:
            raise DataError(f"Nothing is left of {name}: all its examples stand in other splits.")
    return Splits(
        Split("train", tuple(kept["train"])),
        Split("dev", tuple(kept["dev"])),
        Split("test", tuple(fixed_sample(test, test_size))),
        tuple(reports),
    )


def drop_duplicates(examples: Sequence[Example]) -> tuple[list[Example], list[str]]:
    """Keeps the first of equal inputs, and none where equal inputs have different labels.

    Returns:
        The examples that are kept, in order, and a sentence for each kind of loss.
    """
    first: dict[str, Example] = {}
    conflicting: set[str] = set()
    for example in examples:
        key = example.normalised
        if first.setdefault(key, example).label != example.label:
            conflicting.add(key)
    kept = [example for key, example in first.items() if key not in conflicting]
    reports = []
    if repeated := len(examples) - len(first):
        reports.append(f"Repeated examples dropped: {repeated}.")
    if conflicting:
        reports.append(f"Inputs with conflicting labels dropped: {len(conflicting)}.")
    return kept, reports


def fixed_sample(examples: Sequence[Example], size: int | None) -> list[Example]:
    """Returns ``size`` examples that depend on nothing but the examples, in their own order.

    Drawn by hash, so they are the same for every seed, file order and version of NumPy. All of
    them for None.
    """
    if size is None or size >= len(examples):
        return list(examples)
    chosen = sorted(range(len(examples)), key=lambda i: hash_order(examples[i]))[:size]
    return [examples[i] for i in sorted(chosen)]


def hash_order(example: Example) -> str:
    """Returns a sort key that shuffles inputs the same way everywhere."""
    return content_hash(["sample", example.normalised])


def overlap(one: Split, other: Split) -> set[str]:
    """Returns the normalised inputs that stand in both splits."""
    return {e.normalised for e in one} & {e.normalised for e in other}


def check_split(split: Split, template: Template, n_labels: int) -> None:
    """Checks that a split can be used with a template and a number of labels.

    Raises:
        DataError: it is empty, or a label index is out of range.
        TemplateError: an example lacks a field of the template.
    """
    if not len(split):
        raise DataError(f"The {split.name} split is empty.")
    for example in split:
        template.check_fields(example.fields)
        if not 0 <= example.label < n_labels:
            raise DataError(
                f"The {split.name} split has label index {example.label}; the task has {n_labels} "
                "labels."
            )


def _check_numbers(shots: int, seed: int, test_size: int | None) -> None:
    if shots < 1:
        raise ConfigError(f"shots = {shots}: give at least 1 example a class.")
    if seed < 0:
        raise ConfigError(f"seed = {seed}: a seed is 0 or greater.")
    if test_size is not None and test_size < 1:
        raise ConfigError(f"test_size = {test_size}: give 1 or more, or leave it out.")


def _without(
    examples: Sequence[Example], others: Sequence[Example], where: str
) -> tuple[list[Example], list[str]]:
    taken = {other.normalised for other in others}
    kept = [example for example in examples if example.normalised not in taken]
    gone = len(examples) - len(kept)
    report = f"Examples dropped because they stand in {where} as well: {gone}."
    return kept, [report] if gone else []


def _check_enough(pool: Sequence[Example], labels: Sequence[str], shots: int) -> None:
    for label, name in enumerate(labels):
        there = sum(example.label == label for example in pool)
        if there < 2 * shots:
            raise DataError(
                f"The label {name!r} has {there} distinct examples; {shots} shots need "
                f"{2 * shots} ({shots} for train, {shots} for dev). Give more"
                + (f", or ask for at most {there // 2} shots." if there > 1 else ".")
            )
