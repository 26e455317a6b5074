"""A small two-class task about films, in words that every tokenizer of this package knows."""

import itertools
from dataclasses import dataclass

import numpy as np

from rlprompt.core.errors import ConfigError
from rlprompt.tasks.examples import Example, Split
from rlprompt.tasks.template import Template
from rlprompt.tasks.verbalizer import Verbalizer
from rlprompt.testing.words import FILM_WORDS


@dataclass(frozen=True)
class PlantedTask:
    """What a run needs to know of a task, without a loader.

    Attributes:
        labels: names of the labels; ``Example.label`` is an index into them.
        template: ``{text}{prompt}``.
        verbalizer: one word a label.
        train: the examples that a search scores.
        dev: the examples that a selection scores.
        test: the examples that one prompt is scored on.
    """

    labels: tuple[str, ...]
    template: Template
    verbalizer: Verbalizer
    train: Split
    dev: Split
    test: Split


def planted_task(
    n_train: int = 16, n_dev: int = 16, n_test: int = 32, *, seed: int = 0
) -> PlantedTask:
    """Writes disjoint splits of sentences such as 'the film was moving', labels in turn.

    Sizes of the splits are in examples; an even size is balanced.

    Raises:
        ConfigError: more than 768 examples in all, or an empty split.

    >>> task = planted_task()
    >>> [len(split) for split in (task.train, task.dev, task.test)]
    [16, 16, 32]
    """
    labels = ("negative", "positive")
    rng = np.random.default_rng(seed)
    texts = {label: _sentences(FILM_WORDS[label], rng) for label in labels}
    room = sum(map(len, texts.values()))
    sizes = {"train": n_train, "dev": n_dev, "test": n_test}
    if min(sizes.values()) < 1 or sum(sizes.values()) > room:
        raise ConfigError(f"Splits of {sizes} examples: give each 1 or more, {room} in all.")
    examples = [
        Example({"text": texts[labels[i % 2]][i // 2]}, i % 2) for i in range(sum(sizes.values()))
    ]
    ends = list(itertools.accumulate(sizes.values()))
    train, dev, test = (
        Split(name, tuple(examples[end - size : end]))
        for (name, size), end in zip(sizes.items(), ends, strict=True)
    )
    verbalizer = Verbalizer.of(labels, {"negative": "bad", "positive": "good"})
    return PlantedTask(labels, Template("{text}{prompt}"), verbalizer, train, dev, test)


def _sentences(adjectives: tuple[str, ...], rng: np.random.Generator) -> list[str]:
    """All sentences with these adjectives, shuffled."""
    parts = (FILM_WORDS["article"], FILM_WORDS["noun"], ("is", "was"), adjectives)
    sentences = [" ".join(words) for words in itertools.product(*parts)]
    return [sentences[i] for i in rng.permutation(len(sentences))]
