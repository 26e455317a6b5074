"""Other words for the labels, all of them out of one forward."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rlprompt.core.evaluation import FloatArray, log_softmax
from rlprompt.explain.derived import nearest, similarities
from rlprompt.explain.material import Material
from rlprompt.tasks.verbalizer import Verbalizer


@dataclass(frozen=True)
class Choice:
    """Label words in place of the run's.

    Attributes:
        name: what is other, e.g. ``'positive: great'``.
        words: words of each label.
    """

    name: str
    words: tuple[tuple[str, ...], ...]


def choices(material: Material, count: int) -> list[Choice]:
    """Returns the run's words with those of one label changed.

    A label with several words is asked with each by itself; and every label is asked with the words
    of the action vocabulary that are nearest to its first word by the LM's embeddings, and nearer
    to it than to any other label's.

    Args:
        material: of the run.
        count: near words a label.
    """
    task = material.task
    own = task.verbalizer.words
    near = _near(material, count)
    found = []
    for n, (label, words) in enumerate(zip(task.labels, own, strict=True)):
        single = [word for word in words if len(words) > 1]
        for word in (*single, *near[n]):
            changed = (*own[:n], (word,), *own[n + 1 :])
            found.append(Choice(f"{label}: {word}", changed))
    return found


def pooled(verbalizer: Verbalizer, found: Sequence[Choice]) -> Verbalizer:
    """Returns a verbalizer in which every word of all choices is a label of its own.

    The LM's probability of a word does not depend on the other words, so that those of all choices
    come out of one forward; :func:`regrouped` makes labels of them again.
    """
    words = [word for choice in found for label in choice.words for word in label]
    return Verbalizer(tuple((word,) for word in dict.fromkeys([*verbalizer.flat, *words])))


def regrouped(logprobs: FloatArray, pool: Verbalizer, words: Sequence[Sequence[str]]) -> FloatArray:
    """Returns label log-probabilities for some words of a pool.

    Args:
        logprobs: of each word of the pool, up to a constant an example, shape (n, n_words).
        pool: see :func:`pooled`.
        words: words of each label.

    Returns:
        Normalised over the labels, shape (n, n_labels).
    """
    place = {word: n for n, word in enumerate(pool.flat)}
    columns = [
        np.logaddexp.reduce(logprobs[:, [place[word] for word in label]], axis=1) for label in words
    ]
    return log_softmax(np.stack(columns, axis=1))


def _near(material: Material, count: int) -> list[list[str]]:
    """Returns near words of each label's first word, none of them twice."""
    tokenizer, vocabulary = material.lm.tokenizer, material.vocabulary
    prefix = material.task.template.answer_prefix
    own = [words[0] for words in material.task.verbalizer.words]
    rows = material.lm.embeddings(vocabulary.token_ids)
    wanted = [tokenizer.encode(prefix + word) for word in own]
    means = [material.lm.embeddings(ids).mean(axis=0) for ids in wanted]
    similarity = similarities(rows, np.stack(means))
    taken = {word.lower() for word in material.task.verbalizer.flat}
    special = tokenizer.special_ids
    found: list[list[str]] = []
    for n in range(len(own)):
        others = np.delete(similarity, n, axis=0).max(axis=0)

        def usable(candidate: int, n: int = n, others: FloatArray = others) -> bool:
            word = vocabulary.texts[candidate].strip()
            ids = tokenizer.encode(prefix + word)
            single = len(ids) == 1 and special.isdisjoint(ids)
            nearer = bool(similarity[n, candidate] > others[candidate])
            return single and nearer and word.lower() not in taken

        picked = [vocabulary.texts[m].strip() for m, _ in nearest(similarity[n], count, usable)]
        taken.update(word.lower() for word in picked)
        found.append(picked)
    return found
