"""Scores prompts with an encoder-decoder LM, in one of two ways that give the same numbers.

* :class:`SharedEncoder`: every text is encoded once for all labels, and of the head only the label
  words' rows are multiplied, at the positions that predict them.
* :class:`OwnLogits`: one forward of the whole model for each text and each beginning of a label
  word, whole logits. Slower, and right for every architecture.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from rlprompt.core.evaluation import FloatArray
from rlprompt.core.prompt import Prompt
from rlprompt.lm.batching import Batches, Limits
from rlprompt.lm.packed import label_logprobs
from rlprompt.lm.seq2seq_backbone import Seq2SeqBackbone
from rlprompt.lm.seq2seq_inputs import Row, Seq2SeqInputs

Words = tuple[tuple[int, ...], ...]


class WordScorer(Protocol):
    """Scores label words after rows."""

    @property
    def answer_tokens(self) -> int:
        """How many tokens the decoder reads, at most, beside what a row gives it."""

    def score(self, rows: Sequence[Row]) -> torch.Tensor:
        """Returns log-probabilities up to a constant of each row, shape (n_rows, n_words)."""


class Seq2SeqScorer:
    """An encoder-decoder LM bound to a split. Implements ``ChoiceScorer``."""

    def __init__(
        self,
        backbone: Seq2SeqBackbone,
        inputs: Seq2SeqInputs,
        n_labels: int,
        limits: Limits,
        words: WordScorer,
    ) -> None:
        """Keeps what it is given."""
        self._backbone = backbone
        self._inputs = inputs
        self._n_labels = n_labels
        self._words = words
        self._batches = Batches(limits, backbone.device)

    @property
    def n_examples(self) -> int:
        """Number of examples."""
        return self._inputs.n_examples

    @property
    def truncated(self) -> int:
        """How many examples' text was cut so that prompt and answer fit the context."""
        return self._inputs.truncated

    @property
    def prefixes_are_free(self) -> bool:
        """False: every token of the text sees the prompt, so every prefix needs its own forward."""
        return False

    @torch.inference_mode()
    def choice_logprobs(self, prompts: Sequence[Prompt]) -> FloatArray:
        """Scores prompts: log-probabilities of shape (n_prompts, n_examples, n_labels)."""
        rows = self._inputs.rows(prompts)
        # Equal rows once, and sorted by length, so that padding is short.
        distinct = sorted(set(rows), key=lambda r: (len(r.encoder), len(r.decoder), r.encoder))
        place = {row: n for n, row in enumerate(distinct)}
        scores = torch.empty((len(distinct), len(self._inputs.words)), device=self._backbone.device)
        extra = self._words.answer_tokens
        for part, found in self._batches.run(
            [len(row.encoder) + len(row.decoder) + extra for row in distinct],
            lambda part: self._words.score(distinct[part]),
        ):
            scores[part] = found
        labels = label_logprobs(scores, self._inputs.word_label, self._n_labels)
        order = np.asarray([place[row] for row in rows], np.int64)
        return labels[order].reshape(len(prompts), self.n_examples, self._n_labels)

    def prefix_logprobs(self, prompts: Sequence[Prompt]) -> list[FloatArray]:
        """Not available here (see :attr:`prefixes_are_free`)."""
        raise ValueError("An encoder-decoder LM gives no prefix scores: each needs a forward.")


class SharedEncoder:
    """Encodes a row once, decodes it once for each stem; reads few rows of the head.

    A stem is what the decoder reads of label words behind the row's own ids: all tokens of a word
    but the last, which is only predicted. Words share a stem where one begins with the other, so
    for words of one token the decoder runs once.
    """

    def __init__(self, backbone: Seq2SeqBackbone, words: Words) -> None:
        """Prepares stems and rows of the head."""
        self._backbone = backbone
        self._heads = [backbone.rows_of_head(word) for word in words]
        needed = {word[:-1] for word in words}
        self._stems = sorted(
            stem
            for stem in needed
            if not any(other != stem and other[: len(stem)] == stem for other in needed)
        )
        self._words_of = [
            [n for n, word in enumerate(words) if self._stem_of(word) == stem]
            for stem in self._stems
        ]

    def _stem_of(self, word: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the first stem that begins with all tokens of a word but the last."""
        return next(stem for stem in self._stems if stem[: len(word) - 1] == word[:-1])

    @property
    def answer_tokens(self) -> int:
        """Length of the longest stem."""
        return max(map(len, self._stems))

    def score(self, rows: Sequence[Row]) -> torch.Tensor:
        """See :meth:`WordScorer.score`."""
        from transformers import DynamicCache

        backbone = self._backbone
        states, mask = backbone.encode([row.encoder for row in rows])
        cross = DynamicCache() if len(self._stems) > 1 else None
        ends = backbone.tensor(np.asarray([len(row.decoder) - 1 for row in rows], np.int64))
        scores = torch.empty((len(rows), len(self._heads)), device=states.device)
        for stem, words in zip(self._stems, self._words_of, strict=True):
            hidden = backbone.decode([row.decoder + stem for row in rows], states, mask, cross)
            at = ends[:, None] + torch.arange(len(stem) + 1, device=hidden.device)
            # (n_rows, len(stem) + 1, width): what predicts the tokens of these words.
            hidden = hidden.gather(1, at[:, :, None].expand(-1, -1, hidden.shape[-1]))
            # All words share what precedes their first token, so that needs no normaliser.
            rest = hidden[:, 1:].flatten(0, 1)
            normaliser = backbone.full_log_normaliser(rest).reshape(len(rows), len(stem))
            for n in words:
                weight, bias = self._heads[n]
                size = len(weight)
                logits = (hidden[:, :size].float() * weight).sum(-1) + bias
                scores[:, n] = logits.sum(1) - normaliser[:, : size - 1].sum(1)
        return scores


class OwnLogits:
    """Runs the whole model for each stem of label words and reads its logits."""

    def __init__(self, backbone: Seq2SeqBackbone, words: Words) -> None:
        """Groups the words by what the decoder reads of them."""
        self._backbone = backbone
        self._words = words
        self._stems = list(dict.fromkeys(word[:-1] for word in words))

    @property
    def answer_tokens(self) -> int:
        """Length of the longest stem."""
        return max(map(len, self._stems))

    def score(self, rows: Sequence[Row]) -> torch.Tensor:
        """See :meth:`WordScorer.score`."""
        scores = torch.empty((len(rows), len(self._words)), device=self._backbone.device)
        for stem in self._stems:
            logits = self._backbone.own_logits(
                [row.encoder for row in rows], [row.decoder + stem for row in rows]
            )
            for r, row in enumerate(rows):
                start = len(row.decoder) - 1
                logprobs = logits[r, start : start + len(stem) + 1].float().log_softmax(-1)
                for n, word in enumerate(self._words):
                    if word[:-1] == stem:
                        ids = torch.tensor(word, device=logprobs.device)
                        scores[r, n] = logprobs.gather(1, ids[:, None]).sum()
        return scores
