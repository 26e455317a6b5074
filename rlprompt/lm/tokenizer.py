"""A Hugging Face tokenizer as the rest of the program sees it."""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class HFTokenizer:
    """Text to token ids and back, no special token added, nothing cleaned up.

    Implements :class:`rlprompt.tasks.tokenization.Tokenizer`.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", embedding_rows: int) -> None:
        """Wraps a tokenizer.

        Args:
            tokenizer: any Hugging Face tokenizer.
            embedding_rows: rows of the LM's input embedding; ids beyond it are never used.
        """
        self.hf = tokenizer
        self._size = min(len(tokenizer), embedding_rows)
        added = tokenizer.added_tokens_decoder
        self._special = frozenset(tokenizer.all_special_ids) | frozenset(
            id_ for id_, token in added.items() if token.special
        )
        self._encode_cached = lru_cache(maxsize=100_000)(self._encode)

    @property
    def vocab_size(self) -> int:
        """Number of token ids that the LM's embedding rows and the tokenizer share."""
        return self._size

    @property
    def special_ids(self) -> frozenset[int]:
        """Ids of special and added control tokens."""
        return self._special

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self.hf.encode(text, add_special_tokens=False)) if text else ()

    def encode(self, text: str) -> tuple[int, ...]:
        """Returns the token ids of ``text``, no special token added."""
        return self._encode_cached(text)

    def encode_all(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Encodes many texts at once."""
        if not texts:
            return []
        rows = self.hf(list(texts), add_special_tokens=False)["input_ids"]
        return [tuple(row) for row in rows]

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the exact text of ``ids``."""
        return str(
            self.hf.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        )

    @property
    def start_ids(self) -> tuple[int, ...]:
        """Special ids that the tokenizer itself puts before a text, such as a BOS token."""
        bare = tuple(self.hf.encode("a", add_special_tokens=False))
        full = tuple(self.hf.encode("a", add_special_tokens=True))
        for start in range(len(full) - len(bare) + 1):
            if full[start : start + len(bare)] == bare:
                return full[:start]
        return ()
