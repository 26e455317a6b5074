"""The little that tasks need of a tokenizer, so that they need no transformers."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from rlprompt.core.prompt import Prompt
from rlprompt.tasks.template import Template


class Tokenizer(Protocol):
    """Text to token ids and back, without special tokens."""

    @property
    def vocab_size(self) -> int:
        """Number of token ids that the LM's embedding rows and this tokenizer share."""

    @property
    def special_ids(self) -> frozenset[int]:
        """Ids of special and added control tokens, never part of a prompt."""

    def encode(self, text: str) -> tuple[int, ...]:
        """Returns the token ids of ``text``, no special token added."""

    def encode_all(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Encodes many texts at once."""

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the exact text of ``ids``, nothing cleaned up."""


def prompt_text(tokenizer: Tokenizer, template: Template, prompt: Prompt) -> str:
    """Returns the text of a prompt as it goes into the template's slots, see ``Template``."""
    return template.text_of(_decoded(tokenizer, prompt.parts(template.sizes)))


def prompt_of(tokenizer: Tokenizer, template: Template, text: str) -> Prompt:
    """Returns the prompt that a text is in this template; always canonical."""
    parts = [tokenizer.encode(piece) for piece in template.pieces(text)]
    if len(parts) > 1:
        pieces = _decoded(tokenizer, parts)
        again = template.text_of(pieces)
        # A tokenizer that drops the space of "| ||" leaves "|||", which is cut elsewhere.
        if template.slot_texts(again) != template.texts_of(pieces):
            return prompt_of(tokenizer, template, again)
    return Prompt.of(parts, template.sizes)


def canonical(tokenizer: Tokenizer, template: Template, prompt: Prompt) -> Prompt:
    """Returns the prompt that the text of ``prompt`` encodes to: what a user of the text gets.

    A prompt that is canonical already comes back equal.
    """
    return prompt_of(tokenizer, template, prompt_text(tokenizer, template, prompt))


def retokenizes(
    tokenizer: Tokenizer, template: Template, prompt: Prompt, fields: Mapping[str, str]
) -> bool:
    """Whether a rendered example, encoded as one string, holds exactly the prompt's ids.

    That is what a user of the text gets who knows nothing of slots. Tokenizers cut a text at mask
    tokens before anything else, so what stands left and right of ``{mask}`` is encoded apart.
    """
    pieces = template.pieces(prompt_text(tokenizer, template, prompt))
    texts = [""]
    expected: list[tuple[int, ...]] = [()]
    for side, piece, ids in zip(
        template.sides(fields), (*pieces, ""), (*prompt.parts(template.sizes), ()), strict=True
    ):
        for n, text in enumerate(side):
            if n:
                texts.append("")
                expected.append(())
            texts[-1] += text
            expected[-1] += tokenizer.encode(text)
        texts[-1] += piece
        expected[-1] += ids
    return [tokenizer.encode(text) for text in texts] == expected


def _decoded(tokenizer: Tokenizer, parts: Sequence[Sequence[int]]) -> list[str]:
    return [tokenizer.decode(ids) if ids else "" for ids in parts]
