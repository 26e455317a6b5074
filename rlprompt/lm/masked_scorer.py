"""Scores prompts with a masked LM: one row for each prompt, example and number of masks."""

from collections.abc import Sequence

import numpy as np
import torch

from rlprompt.core.evaluation import FloatArray
from rlprompt.core.prompt import Prompt
from rlprompt.lm.backbone import Backbone
from rlprompt.lm.batching import BatchedScorer, Limits
from rlprompt.lm.masked_forward import MaskedBatch, MaskedForward
from rlprompt.lm.masked_inputs import MaskedInputs

#: Token ids of a row, and where its first mask stands.
Row = tuple[tuple[int, ...], int]


class MaskedScorer(BatchedScorer):
    r"""Rows are rendered examples, sorted by length. Implements ``ChoiceScorer``.

    A word of :math:`n` tokens is scored in a row of :math:`n` masks, by
    :math:`\sum_i \log p(w_i \mid \text{row})`: every token is predicted with the word's others
    masked too. That is a pseudo-log-likelihood (Salazar et al. 2020, arXiv:1910.14659) in the one
    forward that Schick & Schuetze 2021 (arXiv:2009.07118) train with; it does not sum to 1 over
    words. Words of one number of tokens share their rows.
    """

    def __init__(
        self,
        backbone: Backbone,
        inputs: MaskedInputs,
        n_labels: int,
        limits: Limits,
        *,
        forward: MaskedForward,
        pad_id: int,
    ) -> None:
        """Keeps what it is given.

        Args:
            backbone: the model.
            inputs: the examples.
            n_labels: number of labels.
            limits: how much goes into one forward.
            forward: how words are scored.
            pad_id: id that fills rows up.
        """
        super().__init__(backbone, inputs.inputs, n_labels, limits)
        self._masked = inputs
        self._forward = forward
        self._pad_id = pad_id
        #: Indices of the words of each number of tokens.
        self._by_length = {
            length: [n for n, word in enumerate(self.inputs.words) if len(word) == length]
            for length in sorted(set(map(len, self.inputs.words)))
        }

    @property
    def prefixes_are_free(self) -> bool:
        """False: every token sees every other, so each prefix needs its own forward."""
        return False

    @torch.inference_mode()
    def choice_logprobs(self, prompts: Sequence[Prompt]) -> FloatArray:
        """Scores prompts: log-probabilities of shape (n_prompts, n_examples, n_labels)."""
        n_cells = len(prompts) * self.n_examples
        words = torch.zeros((n_cells, len(self.inputs.words)), device=self.backbone.device)
        for n_masks, wanted in self._by_length.items():
            cells = [
                self._masked.row(example, prompt, n_masks)
                for prompt in prompts
                for example in range(self.n_examples)
            ]
            # Equal rows are scored once.
            rows = sorted(set(cells), key=lambda row: (len(row[0]), row))
            place = {row: n for n, row in enumerate(rows)}
            scores = self._scores(rows, n_masks, wanted)
            words[:, wanted] = scores[[place[row] for row in cells]]
        shape = (len(prompts), self.n_examples, len(self.inputs.words))
        return self.labels(words.reshape(shape))

    def prefix_logprobs(self, prompts: Sequence[Prompt]) -> list[FloatArray]:
        """Not available here (see :attr:`prefixes_are_free`)."""
        raise ValueError("Prefix scores are never free with a masked LM.")

    def _scores(self, rows: list[Row], n_masks: int, wanted: list[int]) -> torch.Tensor:
        """Scores words of ``n_masks`` tokens in rows sorted by length: (rows, len(wanted))."""
        result = torch.zeros((len(rows), len(wanted)), device=self.backbone.device)
        words = [self.inputs.words[n] for n in wanted]
        normalised = len(self._by_length) > 1
        for part, scores in self.batches(
            [len(ids) for ids, _ in rows],
            lambda part: self._forward.word_scores(
                self._batch(rows[part], n_masks), words, normalised=normalised
            ),
        ):
            result[part] = scores
        return result

    def _batch(self, rows: list[Row], n_masks: int) -> MaskedBatch:
        lengths = np.asarray([len(ids) for ids, _ in rows], np.int64)
        tokens = np.full((len(rows), lengths.max()), self._pad_id, np.int64)
        for n, (ids, _) in enumerate(rows):
            tokens[n, : len(ids)] = ids
        masks = np.asarray([at for _, at in rows], np.int64)[:, None] + np.arange(n_masks)
        tensor = self.backbone.tensor
        return MaskedBatch(tensor(tokens), tensor(lengths), tensor(masks))
