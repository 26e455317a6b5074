"""Small tokenizers and examples for the tests of this folder."""

import pytest

from rlprompt.tasks.examples import Example


class ListTokenizer:
    """Longest match over a given list of pieces; pieces carry their own leading space."""

    def __init__(self, pieces, special=("<end>",)):
        self.pieces = [*special, *pieces]
        self.special_ids = frozenset(range(len(special)))
        self.ids = {piece: i for i, piece in enumerate(self.pieces)}

    @property
    def vocab_size(self):
        return len(self.pieces)

    def encode(self, text):
        ids = []
        while text:
            piece = max((p for p in self.pieces if text.startswith(p)), key=len)
            ids.append(self.ids[piece])
            text = text[len(piece) :]
        return tuple(ids)

    def encode_all(self, texts):
        return [self.encode(text) for text in texts]

    def decode(self, ids):
        return "".join(self.pieces[i] for i in ids)


class WordPieceTokenizer(ListTokenizer):
    """No piece has a leading space; ``##`` marks the inside of a word, as BERT's tokenizer does."""

    def encode(self, text):
        ids = []
        for word in text.split():
            start, rest = "", word
            while rest:
                lengths = [n for n in range(len(rest), 0, -1) if start + rest[:n] in self.ids]
                ids.append(self.ids[start + rest[: lengths[0]]])
                start, rest = "##", rest[lengths[0] :]
        return tuple(ids)

    def decode(self, ids):
        if len(ids) == 1:
            return self.pieces[ids[0]]
        return " ".join(self.pieces[i] for i in ids).replace(" ##", "")


LETTERS = [*list("abcdefghijklmnopqrstuvwxyzI\n:(."), " "]


@pytest.fixture
def bpe():
    """A vocabulary with whole words, fragments, label words, case variants and oddities."""
    words = [" the", " was", " The", " movie", " film", " behav", " el", " x", " I", " good",
             " goodness", " badly", " terribly", " 42", " don't", " I", "ing", "movie", "\ufffd",
             "\x07", " review", " really", "  two", " strugg", " London"]  # fmt: skip
    return ListTokenizer([*LETTERS, *dict.fromkeys(words)])


@pytest.fixture
def wordpiece():
    """A vocabulary as BERT's, down to unused pieces."""
    letters = list("abcdefghijklmnopqrstuvwxyz")
    inside = [f"##{letter}" for letter in letters]
    words = ["[unused1]", "the", "movie", "##ing", "film", "was", "good", "behav", "!"]
    return WordPieceTokenizer([*letters, *inside, *words])


@pytest.fixture
def pool():
    """Returns a function that makes ``n`` distinct examples for each of ``labels`` labels."""

    def make(n, labels=2, prefix="sentence"):
        return [
            Example({"text": f"{prefix} {i} of {label}"}, label)
            for i in range(n)
            for label in range(labels)
        ]

    return make
