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
    """Returns the text of a prompt as it goes into the template's slot."""
    return template.text_of(tokenizer.decode(prompt.ids)) if prompt.ids else ""


def prompt_of(tokenizer: Tokenizer, template: Template, text: str) -> Prompt:
    """Returns the prompt that a text is in this template; always canonical."""
    return Prompt(tokenizer.encode(template.piece(text)))


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
    tokens before anything else, so only what stands between the prompt and ``{mask}`` counts.
    """
    text = prompt_text(tokenizer, template, prompt)
    lefts, rights = template.sides(fields)
    left, right = lefts[-1], rights[0]
    whole = tokenizer.encode(left + template.piece(text) + right)
    return whole == (*tokenizer.encode(left), *prompt.ids, *tokenizer.encode(right))
