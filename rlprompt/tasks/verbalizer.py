"""Label to words: how the frozen LM names its answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rlprompt.core.errors import TemplateError, suggest


@dataclass(frozen=True)
class Verbalizer:
    """One or more words a label; a label's probability is the sum over its words.

    Schick & Schuetze 2021 (arXiv:2001.07676), with several words a label as in Hu et al. 2022
    (arXiv:2108.02035).

    Attributes:
        words: words of each label, labels in the order of the task.
    """

    words: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, labels: Sequence[str], words: Mapping[str, str | Sequence[str]]) -> "Verbalizer":
        """Makes a verbalizer from a mapping of label to word or words.

        Raises:
            TemplateError: a label has no word, or a word belongs to no label.
        """
        unknown = [label for label in words if label not in labels]
        if unknown:
            raise TemplateError(
                f"Words are given for {unknown[0]!r}, which is no label."
                f"{suggest(unknown[0], labels)} Labels: {', '.join(labels)}."
            )
        missing = [label for label in labels if not words.get(label)]
        if missing:
            raise TemplateError(
                f"No word for label {missing[0]!r}: give every label a word, e.g. --words "
                f'"{missing[0]}=WORD". Labels: {", ".join(labels)}.'
            )
        return cls(
            tuple(
                (value,) if isinstance(value, str) else tuple(value)
                for value in (words[label] for label in labels)
            )
        )

    def __post_init__(self) -> None:
        """Refuses empty, blank and repeated words.

        Raises:
            TemplateError: with the word.
        """
        seen: set[str] = set()
        if len(self.words) < 2:
            raise TemplateError("A verbalizer needs words for at least two labels.")
        for words in self.words:
            if not words:
                raise TemplateError("Every label needs at least one word.")
            for word in words:
                if not word.strip():
                    raise TemplateError("A label word is empty; give a word such as 'good'.")
                if word.strip().lower() in seen:
                    raise TemplateError(
                        f"The label word {word!r} is given twice; labels could not be told apart."
                    )
                seen.add(word.strip().lower())

    def __len__(self) -> int:
        """Number of labels."""
        return len(self.words)

    @property
    def flat(self) -> tuple[str, ...]:
        """All words, label by label."""
        return tuple(word for words in self.words for word in words)
