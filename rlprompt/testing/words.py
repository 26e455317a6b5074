"""Words that the tokenizers of this package know, and a tokenizer of whole words."""

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Final

from rlprompt.core.errors import ConfigError, suggest

COMMON_WORDS: Final[tuple[str, ...]] = tuple(
    """
    the a an and or but of to in on at for with from by as is was are were be been it its this
    that these those he she they we you I my his her their our not no yes so if then than very
    more most less least much many some any all each every one two three first last next new old
    good bad great terrible fine poor nice awful best worst better worse positive negative true
    false right wrong happy sad big small long short high low fast slow strong weak rich dull
    bright dark warm cold clear plain simple clever stupid funny boring exciting moving charming
    tedious brilliant dreadful superb lovely ugly beautiful fresh stale deep shallow sharp flat
    movie film story plot actor cast scene script music sound picture ending start work piece
    review text sentence word question answer label class topic opinion feeling sentiment tone
    world sports business science news politics team game market company technology computer
    people man woman child friend family life time year day night house city country home
    what who where when why how which say said says tell think know see look feel find make made
    take give get go come put let ask call mean seem show watch read write like love hate enjoy
    really quite rather too just only also even still never always often once again here there
    now up down out over under about after before between because while both other same such
    thing way part point end fact case kind sort lot bit hand eye head heart mind idea reason
    overall truly simply mostly nearly clearly indeed perhaps maybe almost wholly entirely verdict
    summary conclusion result rating score star absolutely basically honest fair total pure
    """.split()  # noqa: SIM905 - one word a line would be 290 lines
)
"""Frequent English words, many of them about films; each occurs once."""

FILM_WORDS: Final[dict[str, tuple[str, ...]]] = {
    "article": ("the", "this", "that"),
    "noun": ("movie", "film", "story", "plot", "script", "music", "ending", "cast"),
    "negative": ("terrible", "poor", "awful", "boring", "tedious", "dull", "dreadful", "stale"),
    "positive": ("great", "fine", "nice", "funny", "moving", "superb", "lovely", "clever"),
}
"""The words of the sentences that :func:`rlprompt.testing.planted_task` writes."""

_CONSONANTS = "bdfgklmnprstvz"
_VOWELS = "aeiou"


def made_up_words(n: int) -> tuple[str, ...]:
    """Returns ``n`` distinct pronounceable words, none of ``COMMON_WORDS``; always the same ones.

    Raises:
        ValueError: ``n`` is below 1 or above 4800.

    >>> made_up_words(3)
    ('baba', 'bage', 'bami')
    """
    if not 1 <= n <= 4800:
        raise ValueError(f"{n} made-up words: from 1 to 4800 can be had.")
    syllables = [c + v for v in _VOWELS for c in _CONSONANTS]
    size = len(syllables)
    # Stepping the second syllable by 17 (prime to 70) varies consonant and vowel from word to word.
    words = (syllables[i // size] + syllables[i * 17 % size] for i in range(size * size))
    return tuple(itertools.islice((word for word in words if word not in COMMON_WORDS), n))


class WordTokenizer:
    """One token a word; implements :class:`rlprompt.tasks.tokenization.Tokenizer`.

    Each token's text is its word with one space before it, as in byte-level BPE, so that texts
    concatenate as their ids do. Id 0 is the special token ``<eos>``; the words follow in the order
    given. An unknown word is refused: mapping it to some id would score a text nobody wrote.

    >>> tokenizer = WordTokenizer(["fine", "film"])
    >>> tokenizer.encode("fine film")
    (1, 2)
    >>> tokenizer.decode((2, 1))
    ' film fine'
    """

    EOS = "<eos>"

    def __init__(self, words: Sequence[str]) -> None:
        """Makes the vocabulary.

        Raises:
            ConfigError: a word is repeated, empty, special or holds white space.
        """
        self._words = (self.EOS, *words)
        self._ids = {word: i for i, word in enumerate(self._words)}
        unfit = [word for word in words if word.split() != [word]]
        if unfit:
            raise ConfigError(f"{unfit[0]!r} is no single word.")
        if len(self._ids) != len(self._words):
            twice = next(word for word, n in Counter(self._words).items() if n > 1)
            raise ConfigError(f"The word {twice!r} is given twice, or is the special token.")

    @property
    def vocab_size(self) -> int:
        """Number of words and the special token."""
        return len(self._words)

    @property
    def special_ids(self) -> frozenset[int]:
        """The id of ``<eos>``."""
        return frozenset({0})

    def encode(self, text: str) -> tuple[int, ...]:
        """Returns the id of each word of ``text``, split at white space.

        Raises:
            ConfigError: a word is not in the vocabulary; the message holds the nearest one.
        """
        for word in text.split():
            if word not in self._ids:
                raise ConfigError(
                    f"The word {word!r} is not in the vocabulary of {self.vocab_size} "
                    f"words.{suggest(word, self._words)}"
                )
        return tuple(self._ids[word] for word in text.split())

    def encode_all(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Encodes each text."""
        return [self.encode(text) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the words of ``ids``, one space before each.

        Raises:
            IndexError: an id is out of range.
        """
        if any(not 0 <= i < self.vocab_size for i in ids):
            raise IndexError(f"Ids {list(ids)} are not all from 0 to {self.vocab_size - 1}.")
        return "".join(f" {self._words[i]}" for i in ids)
