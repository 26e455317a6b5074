"""What the stand-in masked LM reads: packaged film reviews, without what tasks are tested on.

Rotten Tomatoes sentences are the examples of the task movie-reviews. SST-2 and SST-5 are made of
the same sentences, and test on others of them. So by default none is read, and no review that holds
one.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rlprompt.core.hashing import content_hash
from rlprompt.tasks.movie_reviews import fixed_test, load_reviews, load_sentences
from rlprompt.tasks.splits import drop_duplicates

#: One review in so many is kept back, to measure how well masked words are predicted.
HELD_OUT = 50

#: Words that say what somebody thinks of a film, label words of tasks among them.
OPINION_WORDS = tuple(
    """
    amateurish amazing annoying appealing atrocious awesome awful awkward bad beautiful
    believable best better bland boring brilliant captivating charming cheap cheesy clever
    clumsy compelling confusing convincing crap creative dated delightful disappointing
    disgusting dreadful dreary dull effective embarrassing engaging enjoyable entertaining
    excellent exciting fantastic fine flat flawed flawless forgettable fresh fun funny good
    gorgeous great gripping hilarious hollow honest horrible imaginative impressive incoherent
    inept inspired intelligent interesting lame laughable lazy lovely magnificent masterful
    mediocre memorable mess messy moving negative nice original outstanding painful pathetic
    perfect perfection poignant pointless poor positive powerful predictable pretentious
    refreshing remarkable ridiculous riveting rubbish sad shallow silly slow smart solid stale
    strong stunning stupid sublime superb tedious terrible terrific thoughtful thrilling tired
    touching tragic trite ugly uneven unfunny uninspired unique unwatchable waste wasted weak
    wonderful wooden worse worst worth worthless
    """.split()  # noqa: SIM905 - easier to read than quoted one by one
)

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_TAG = re.compile(r"<[^<>]{1,20}>")

Words = tuple[str, ...]


def words_of(text: str) -> Words:
    """Returns the words of a text: what makes it the same sentence wherever it stands."""
    folded = unicodedata.normalize("NFKC", _TAG.sub(" ", text)).casefold()
    return tuple(re.findall(r"\w+", folded))


def sentences_of(text: str) -> list[str]:
    return [part for part in _SENTENCE_END.split(" ".join(_TAG.sub(" ", text).split())) if part]


class Forbidden:
    """Sentences that must not stand in what is read.

    A sentence of several words stands in a text where they follow each other, whatever is around
    them. A sentence of one word, such as "horrible", must be a whole sentence there as well:
    otherwise the LM would never read that word.
    """

    def __init__(self, sentences: Iterable[str]) -> None:
        found = {words_of(sentence) for sentence in sentences}
        self._single = {words[0] for words in found if len(words) == 1}
        self._by_start: dict[Words, list[Words]] = defaultdict(list)
        for words in found:
            if len(words) > 1:
                self._by_start[words[:2]].append(words)

    def stand_in(self, text: str) -> bool:
        """Whether any of the sentences stands in a text."""
        words = words_of(text)
        for at in range(len(words) - 1):
            for sentence in self._by_start.get(words[at : at + 2], ()):
                if words[at : at + len(sentence)] == sentence:
                    return True
        if self._single.isdisjoint(words):
            return False
        alone = (words_of(sentence) for sentence in sentences_of(text))
        return any(len(each) == 1 and each[0] in self._single for each in alone)


@dataclass(frozen=True)
class Texts:
    """Reviews in the order of the file.

    Attributes:
        training: to be trained on.
        held_out: to measure on, never trained on.
        dropped: how many hold a forbidden sentence.
    """

    training: tuple[str, ...]
    held_out: tuple[str, ...]
    dropped: int


def packaged_texts(*, rotten_tomatoes: bool = False) -> Texts:
    """Reads the packaged reviews.

    Args:
        rotten_tomatoes: whether the sentences of the few-shot pool of movie-reviews are read too,
            without their labels. Its test sentences never are, but some of SST's then are.

    Raises:
        DataError: the package is missing.
    """
    sentences = load_sentences()
    texts = load_reviews()
    if rotten_tomatoes:
        test = fixed_test(drop_duplicates(sentences)[0])
        forbidden = Forbidden(example.fields["text"] for example in test)
        texts += [example.fields["text"] for example in sentences]
    else:
        forbidden = Forbidden(example.fields["text"] for example in sentences)
    return divide(texts, forbidden)


def divide(texts: Sequence[str], forbidden: Forbidden) -> Texts:
    """Drops equal texts and forbidden ones; keeps some back, the same ones on every machine."""
    distinct = dict.fromkeys(texts)
    kept = [text for text in distinct if not forbidden.stand_in(text)]
    back = {text for text in kept if int(content_hash(["held out", text])[:8], 16) % HELD_OUT == 0}
    return Texts(
        training=tuple(text for text in kept if text not in back),
        held_out=tuple(text for text in kept if text in back),
        dropped=len(distinct) - len(kept),
    )


def chunks(texts: Iterable[str], tokenizer: Any, size: int) -> list[list[int]]:
    """Cuts texts into ids of whole sentences, as many as there is room for.

    Args:
        texts: the texts; a chunk is never of two of them.
        tokenizer: BERT's, with special tokens before and after a text.
        size: most tokens of a chunk, special ones included; longer sentences are cut.
    """
    room = size - tokenizer.num_special_tokens_to_add()
    found: list[list[int]] = []
    for text in texts:
        pending: list[int] = []
        for ids in tokenizer(sentences_of(text), add_special_tokens=False)["input_ids"]:
            if pending and len(pending) + len(ids) > room:
                found.append(pending)
                pending = []
            pending += ids
            while len(pending) > room:
                found.append(pending[:room])
                pending = pending[room:]
        if pending:
            found.append(pending)
    return [[tokenizer.cls_token_id, *ids, tokenizer.sep_token_id] for ids in found]


def opinion_ids(tokenizer: Any) -> frozenset[int]:
    """Returns the ids of those opinion words that are one token."""
    ids = (tokenizer(word, add_special_tokens=False)["input_ids"] for word in OPINION_WORDS)
    return frozenset(each[0] for each in ids if len(each) == 1) - {tokenizer.unk_token_id}
