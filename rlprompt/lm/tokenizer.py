"""A Hugging Face tokenizer as the rest of the program sees it."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class HFTokenizer:
    """Text to token ids and back, no special token added, nothing cleaned up.

    Implements :class:`rlprompt.tasks.tokenization.Tokenizer`.
    """

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        embedding_rows: int,
        *,
        prose: bool = False,
    ) -> None:
        """Wraps a tokenizer.

        Args:
            tokenizer: any Hugging Face tokenizer.
            embedding_rows: rows of the LM's input embedding; ids beyond it are never used.
            prose: whether a text is prose and nothing else. One that spells a special token
                (``[MASK]`` in a review) then gives no special id, and ids are decoded as they stand
                within a text, so that a word has its space before it even where the tokenizer's
                pieces carry none (WordPiece, SentencePiece).
        """
        self.hf = tokenizer
        self._size = min(len(tokenizer), embedding_rows)
        added = tokenizer.added_tokens_decoder
        self._special = frozenset(tokenizer.all_special_ids) | frozenset(
            id_ for id_, token in added.items() if token.special
        )
        # An unknown character is part of prose, and its id decodes to the unknown token's name.
        self._reserved = (self._special - {tokenizer.unk_token_id}) if prose else frozenset()
        names = sorted(map(str, tokenizer.convert_ids_to_tokens(sorted(self._reserved))), key=len)
        self._spelled = re.compile("|".join(map(re.escape, reversed(names))))
        self._told: set[str] = set()
        self._encode_cached = lru_cache(maxsize=100_000)(self._encode)
        self._before = self.encode("a") if prose else ()
        self._text_before = self._decode(self._before)

    @property
    def vocab_size(self) -> int:
        """Number of token ids that the LM's embedding rows and the tokenizer share."""
        return self._size

    @property
    def special_ids(self) -> frozenset[int]:
        """Ids of special and added control tokens."""
        return self._special

    def _encode(self, text: str) -> tuple[int, ...]:
        ids = tuple(self.hf.encode(text, add_special_tokens=False)) if text else ()
        return self._as_prose(text, ids)

    def _as_prose(self, text: str, ids: tuple[int, ...]) -> tuple[int, ...]:
        """Returns ids of ``text`` that name no reserved token, whatever the text spells."""
        if self._reserved.isdisjoint(ids):
            return ids
        # transformers' split_special_tokens would not do: the pieces of some vocabularies (XLM-R)
        # hold the special tokens' names.
        apart = self._spelled.sub(lambda m: f"{m[0][0]} {m[0][1:]}", text)
        ids = tuple(self.hf.encode(apart, add_special_tokens=False))
        return tuple(i for i in ids if i not in self._reserved)

    def encode(self, text: str) -> tuple[int, ...]:
        """Returns the token ids of ``text``, no special token added."""
        return self._encode_cached(text)

    def tell_once(self, subject: str) -> bool:
        """Whether a message about ``subject`` is due: True the first time only."""
        due = subject not in self._told
        self._told.add(subject)
        return due

    def encode_all(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Encodes many texts at once."""
        if not texts:
            return []
        rows = self.hf(list(texts), add_special_tokens=False)["input_ids"]
        return [self._as_prose(text, tuple(row)) for text, row in zip(texts, rows, strict=True)]

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the exact text of ``ids``."""
        whole = self._decode((*self._before, *ids))
        if whole.startswith(self._text_before):
            return whole.removeprefix(self._text_before)
        return self._decode(ids)

    def _decode(self, ids: Sequence[int]) -> str:
        return str(
            self.hf.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        )

    @property
    def start_ids(self) -> tuple[int, ...]:
        """Special ids that the tokenizer itself puts before a text, such as a BOS token."""
        return self._around()[0]

    @property
    def end_ids(self) -> tuple[int, ...]:
        """Special ids that the tokenizer itself puts after a text, such as ``[SEP]``."""
        return self._around()[1]

    def _around(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        bare = tuple(self.hf.encode("a", add_special_tokens=False))
        full = tuple(self.hf.encode("a", add_special_tokens=True))
        for start in range(len(full) - len(bare) + 1):
            if full[start : start + len(bare)] == bare:
                return full[:start], full[start + len(bare) :]
        return (), ()
