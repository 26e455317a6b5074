"""The filters an action vocabulary is made by, one small function each.

A filter takes the candidates that are left and returns those it keeps, in order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rlprompt.core.errors import ConfigError, suggest
from rlprompt.tasks.optional import need
from rlprompt.tasks.template import PromptSlot, Template
from rlprompt.tasks.tokenization import Tokenizer


@dataclass(frozen=True)
class Candidate:
    """A token that may become an action.

    Attributes:
        id: token id.
        text: what it decodes to on its own, the leading space included where there is one.
    """

    id: int
    text: str

    @property
    def word(self) -> str:
        """The text without white space, case folded: what makes two tokens the same word."""
        return self.text.strip().casefold()


Filter = Callable[[Sequence[Candidate]], list[Candidate]]

# Languages written without spaces: a word neither begins with one nor has to be long.
UNSPACED = ("zh", "ja", "th", "lo", "km", "my")


def printable(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Drops control characters, and pieces of characters (they decode to U+FFFD)."""
    return [c for c in candidates if c.text.strip().isprintable() and "\ufffd" not in c.text]


def word_initial(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Keeps tokens that begin a word: one space, then something else.

    Where a tokenizer decodes no token to a text with a leading space, as one may that marks the
    inside of words (WordPiece), nothing is dropped here, and ``letters_only`` drops ``##ing``.
    """
    if not any(c.text.startswith(" ") and c.text.strip() for c in candidates):
        return list(candidates)
    return [c for c in candidates if c.text.startswith(" ") and c.text[1:2].strip()]


def letters_only(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Keeps tokens of letters of any script, after at most a leading space."""
    return [c for c in candidates if c.text.removeprefix(" ").isalpha()]


def not_listed(words: Sequence[str]) -> Filter:
    """Makes a filter that drops the given words in any case."""
    listed = {word.strip().casefold() for word in words}
    return lambda candidates: [c for c in candidates if c.word not in listed]


def no_label_words(words: Sequence[str]) -> Filter:
    """Makes a filter that drops label words and what begins with one ('badly' for 'bad').

    A prompt that names an answer gives it away whatever the input is. A final 'e' is not counted
    to the stem, so that 'terribly' falls with 'terrible'; words of one or two letters ('no') begin
    too many others and drop only themselves.
    """
    parts = {part for word in words for part in word.casefold().split()}
    stems = tuple(
        part.removesuffix("e") if len(part) >= 5 else part for part in parts if len(part) >= 3
    )

    def keep(candidates: Sequence[Candidate]) -> list[Candidate]:
        return [c for c in candidates if c.word not in parts and not c.word.startswith(stems)]

    return keep


# Least Zipf frequency (log10 of occurrences per 10^9 words) by number of letters. Short strings
# need more, since names, abbreviations and foreign words make any two or three letters look common
# ('el' 4.6, 'ing' 4.0, 'th' 4.2), while real words that short are very common ('am' 5.8, 'joy'
# 4.6). From 5 letters on, 3.0 parts words ('sieve' 3.0) from stems ('behav' 1.8, 'exper' 2.1).
_LEAST_ZIPF = {1: 6.5, 2: 5.4, 3: 4.5, 4: 3.5}
_LEAST_ZIPF_OF_LONG = 3.0


def zipf_frequencies(candidates: Sequence[Candidate], language: str) -> dict[str, float]:
    """Returns the Zipf frequency of each candidate's word, 0 where it is no word.

    wordfreq (Speer 2022, https://github.com/rspeer/wordfreq) counts words in books, subtitles,
    news, the web and more.

    Raises:
        ConfigError: wordfreq is not installed, or does not know the language.
    """
    off = "or switch the filter off with whole_words = false"
    try:
        wordfreq = need("wordfreq", "wordfreq", "The whole-words filter")
    except ConfigError as error:
        raise ConfigError(f"{error} Install it, {off}.") from error
    known = sorted(wordfreq.available_languages())
    # Asked here, since wordfreq takes the nearest language it knows, which may be English.
    if language.replace("_", "-").split("-")[0] not in known:
        raise ConfigError(
            f"wordfreq has no word list for the language {language!r}.{suggest(language, known)} "
            f"Known: {', '.join(known)}. Choose one of them, {off}."
        )
    try:
        return {c.word: wordfreq.zipf_frequency(c.word, language) for c in candidates}
    # Chinese, Japanese and Korean need a package more to tell words apart.
    except ImportError as error:
        raise ConfigError(f"wordfreq cannot read {language!r}: {error}. Or {off[3:]}.") from error


def whole_words(frequencies: dict[str, float], language: str) -> Filter:
    """Makes a filter that keeps words common enough not to be fragments of others."""
    spaced = language not in UNSPACED

    def least(word: str) -> float:
        return _LEAST_ZIPF.get(len(word), _LEAST_ZIPF_OF_LONG) if spaced else _LEAST_ZIPF_OF_LONG

    return lambda candidates: [c for c in candidates if frequencies[c.word] >= least(c.word)]


def one_case(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Keeps one token of those that differ in case only: the lowest id.

    'movie', 'Movie' and 'MOVIE' are one idea; three actions for it would be a third of the search
    each. The lowest id is the most frequent form, so 'I' and 'London' keep their capitals.
    """
    first: dict[str, Candidate] = {}
    for candidate in sorted(candidates, key=lambda c: c.id):
        first.setdefault(candidate.word, candidate)
    return [c for c in candidates if first[c.word] is c]


def round_trips(tokenizer: Tokenizer, template: Template, *, pieces: bool = False) -> Filter:
    """Makes a filter that keeps tokens whose text encodes to them again, wherever they stand.

    Tried alone, between two copies of a word, and against the template's own text around each slot.
    What is exported is text: a token that its text does not lead back to could be scored, but
    nobody could use it. With ``pieces`` the last two tests are enough for tokens whose text has no
    space before it, and the template's text is not for them, since they never come first.
    """

    def keep(candidates: Sequence[Candidate]) -> list[Candidate]:
        alone = tokenizer.encode_all([c.text for c in candidates])
        stable = [c for c, ids in zip(candidates, alone, strict=True) if ids == (c.id,)]
        if not stable:
            return []
        inner = [c for c in candidates if pieces and not c.text.startswith(" ")]
        spaced = (c for c in stable if c.text.startswith(" "))
        neighbour = (next(spaced, stable[0]) if pieces else stable[0]).id

        def among(given: Sequence[Candidate]) -> list[Candidate]:
            triples = [(neighbour, c.id, neighbour) for c in given]
            found = tokenizer.encode_all([tokenizer.decode(ids) for ids in triples])
            return [c for c, want, got in zip(given, triples, found, strict=True) if want == got]

        kept = {c.id for c in (*_stand_in(tokenizer, template, among(stable)), *among(inner))}
        return [c for c in candidates if c.id in kept]

    return keep


def _stand_in(
    tokenizer: Tokenizer, template: Template, candidates: Sequence[Candidate]
) -> list[Candidate]:
    """Keeps tokens that the template's own text next to any of the slots does not merge with."""
    kept = list(candidates)
    for slot, left, right in _neighbouring_texts(template):
        if not left and not right:
            continue
        before = tokenizer.encode(left)
        texts = [left + slot.piece(slot.text_of(c.text)) + right for c in kept]
        encoded = tokenizer.encode_all(texts)
        kept = [
            c
            for c, ids in zip(kept, encoded, strict=True)
            if ids[: len(before) + 1] == (*before, c.id)
        ]
    return kept


def _neighbouring_texts(template: Template) -> list[tuple[PromptSlot, str, str]]:
    """Returns each slot with the template's own text up to its neighbours left and right."""
    # Fields are filled with a character that no template holds.
    edge = "\0"
    sides = template.sides(dict.fromkeys(template.fields, edge))
    return [
        (slot, left[-1].rpartition(edge)[2], right[0].partition(edge)[0])
        for slot, left, right in zip(template.prompt_slots, sides, sides[1:], strict=False)
    ]
