"""Which tokens an agent may put into a prompt."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rlprompt.core.errors import ConfigError
from rlprompt.tasks import vocabulary_filters as filters
from rlprompt.tasks.template import Template
from rlprompt.tasks.tokenization import Tokenizer
from rlprompt.tasks.verbalizer import Verbalizer
from rlprompt.tasks.vocabulary_filters import UNSPACED, Candidate, Filter


@dataclass(frozen=True)
class FilterReport:
    """What one filter did.

    Attributes:
        name: name of the filter.
        reason: why it is there.
        removed: number of tokens it removed from those that were left to it.
    """

    name: str
    reason: str
    removed: int


@dataclass(frozen=True)
class ActionVocabulary:
    """Maps action ``a`` to the token ``token_ids[a]``.

    Attributes:
        token_ids: token id of each action.
        texts: decoded text of each action, the leading space included where there is one.
        filters: what made the choice, in the order of application.
        language: code of the language the words are of.
    """

    token_ids: tuple[int, ...]
    texts: tuple[str, ...]
    filters: tuple[FilterReport, ...] = ()
    language: str = "en"

    def __post_init__(self) -> None:
        """Refuses vocabularies that leave no choice.

        Raises:
            ConfigError: fewer than two actions, a token twice, or texts that do not fit.
        """
        if len(self.token_ids) < 2:
            raise ConfigError(
                f"An action vocabulary of {len(self.token_ids)} tokens leaves nothing to choose; "
                "it needs two or more."
            )
        if len(set(self.token_ids)) != len(self.token_ids):
            raise ConfigError("An action vocabulary has a token twice; take one out.")
        if len(self.texts) != len(self.token_ids):
            raise ConfigError(
                f"{len(self.token_ids)} tokens, but {len(self.texts)} texts: give one each."
            )

    def __len__(self) -> int:
        """Number of actions."""
        return len(self.token_ids)

    def to_json(self) -> dict[str, Any]:
        """Returns a JSON object that :meth:`from_json` takes back."""
        return {
            "token_ids": list(self.token_ids),
            "texts": list(self.texts),
            "filters": [asdict(report) for report in self.filters],
            "language": self.language,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "ActionVocabulary":
        """Makes the vocabulary that :meth:`to_json` was called on."""
        return cls(
            tuple(value["token_ids"]),
            tuple(value["texts"]),
            tuple(FilterReport(**report) for report in value["filters"]),
            value["language"],
        )


def build_vocabulary(
    tokenizer: Tokenizer,
    verbalizer: Verbalizer,
    template: Template,
    *,
    size: int = 2000,
    language: str = "en",
    whole_words: bool = True,
    pieces: bool = False,
    exclude: Sequence[str] = (),
) -> ActionVocabulary:
    """Chooses the tokens an agent may use.

    Most frequent words of the language first, so that a cut at ``size`` keeps those the LM and the
    reader know best; without the whole-words filter by token id, since tokenizers number frequent
    pieces first.

    Args:
        tokenizer: tokenizer of the LM.
        verbalizer: its words never become actions.
        template: text of it that stands next to the slot is part of the round-trip test.
        size: upper limit for the number of actions.
        language: code of the language, e.g. 'en'.
        whole_words: keep only words of that language (needs the package wordfreq).
        pieces: keep pieces from inside words too, as WordPiece's ``##ing``, which go on with the
            word before them; ``whole_words`` drops those that are no words by themselves.
        exclude: further words that must not become actions, in any case.

    Raises:
        ConfigError: fewer than two tokens are left, wordfreq is missing or lacks the language.
    """
    if size < 2:
        raise ConfigError(f"size = {size}: an action vocabulary needs two tokens or more.")
    sieve = _Sieve(tokenizer)
    sieve.apply("printable", "people read prompts", filters.printable)
    if language not in UNSPACED and not pieces:
        sieve.apply("word-initial", "a piece from inside a word is no word", filters.word_initial)
    sieve.apply("letters only", "digits and signs say little in words", filters.letters_only)
    sieve.apply(
        "no label words",
        "a prompt that names an answer gives it away",
        filters.no_label_words(verbalizer.flat),
    )
    if exclude:
        sieve.apply("exclude", "excluded by the user", filters.not_listed(exclude))
    if whole_words:
        frequencies = filters.zipf_frequencies(sieve.left, language)
        sieve.apply(
            "whole words",
            f"not a common word ({language}), so maybe a fragment of one",
            filters.whole_words(frequencies, language),
        )
        # A stable sort: words of equal frequency stay in the order of their ids.
        sieve.left.sort(key=lambda c: -frequencies[c.word])
    sieve.apply(
        "round trip",
        "the text must lead back to the token",
        filters.round_trips(tokenizer, template, pieces=pieces),
    )
    sieve.apply("one case", "the same word with another capital", filters.one_case)
    sieve.apply("size", f"the {size} most frequent are enough", lambda left: list(left[:size]))
    sieve.check()
    return ActionVocabulary(
        tuple(c.id for c in sieve.left),
        tuple(c.text for c in sieve.left),
        tuple(sieve.reports),
        language,
    )


class _Sieve:
    """The candidates that are left, and what each filter removed."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        special = tokenizer.special_ids
        self.left = [
            Candidate(i, tokenizer.decode([i]))
            for i in range(tokenizer.vocab_size)
            if i not in special
        ]
        removed = tokenizer.vocab_size - len(self.left)
        self.reports = [FilterReport("no special tokens", "they steer the LM, unseen", removed)]

    def apply(self, name: str, reason: str, keep: Filter) -> None:
        """Applies a filter and notes what it removed."""
        before = len(self.left)
        self.left = keep(self.left)
        self.reports.append(FilterReport(name, reason, before - len(self.left)))

    def check(self) -> None:
        """Raises a ConfigError that names the greediest filters if next to nothing is left."""
        if len(self.left) >= 2:
            return
        removed = ", ".join(f"{r.name} {r.removed}" for r in self.reports if r.removed)
        raise ConfigError(
            f"The filters leave {len(self.left)} tokens for prompts; two or more are needed. "
            f"Removed: {removed}. Try another language, whole_words = false, or a template with "
            "plain text or a line break before {prompt}."
        )
