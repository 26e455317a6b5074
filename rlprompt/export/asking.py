"""Readings by plain transformers, from nothing but what an export says. For the child process."""

import importlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from rlprompt.export.artifact import Artifact
from rlprompt.export.inputs import shown
from rlprompt.export.protocol import Reading


def joined(
    inputs: Sequence[Sequence[str]], ids: Sequence[Sequence[int]]
) -> tuple[str, tuple[int, ...]]:
    """Joins the inputs of an ensemble's prompts, and what the LM reads of them, one by one."""
    return "\n".join(map(shown, inputs)), tuple(int(each) for one in ids for each in one)


class PlainLM:
    """The LM that an export names, asked as anybody would."""

    def __init__(self, artifact: Artifact) -> None:
        """Loads nothing yet."""
        self.artifact = artifact
        self.family: Any = importlib.import_module(f"rlprompt.export.plain.{artifact.lm.family}")

    @cached_property
    def loaded(self) -> tuple[Any, Any]:
        """Model and tokenizer."""
        lm = self.artifact.lm
        model, tokenizer = self.family.load(lm.location, lm.dtype, dict(lm.options))
        return model, tokenizer

    def read(self, texts: Sequence[str]) -> Reading:
        """Asks about a rendered input: one text, or what stands before and after the mask."""
        return self.read_ids(texts, self.family.encode(self.loaded[1], texts))

    def read_all(self, inputs: Sequence[Sequence[str]]) -> Reading:
        """Asks about the rendered inputs of an ensemble's prompts, or the one of a prompt."""
        import torch

        model, tokenizer = self.loaded
        ids = [self.family.encode(tokenizer, texts) for texts in inputs]
        words = self.artifact.flat_words
        found = [self.family.word_logprobs(model, tokenizer, each, words) for each in ids]
        return self.reading(*joined(inputs, ids), torch.stack(found))

    def read_ids(self, texts: Sequence[str], ids: list[int]) -> Reading:
        """Asks about token ids, whose text ``texts`` is."""
        model, tokenizer = self.loaded
        found = self.family.word_logprobs(model, tokenizer, ids, self.artifact.flat_words)
        return self.reading(shown(texts), ids, found)

    def reading(self, text: str, ids: Sequence[int], word_logprobs: Any) -> Reading:
        """Makes a reading of the log-probability of each label word."""
        from rlprompt.export.plain.labels import label_logprobs

        artifact = self.artifact
        labels = label_logprobs(word_logprobs, artifact.words, artifact.calibration)
        return Reading(text, tuple(map(int, ids)), labels)
