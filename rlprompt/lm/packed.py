"""Packed scoring: what stands left of the prompt is cached, what stands right is packed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from rlprompt.core.evaluation import FloatArray, IntArray
from rlprompt.lm.backbone import Backbone, KeysValues
from rlprompt.lm.inputs import Inputs
from rlprompt.lm.packing import PAD, Row, visible


@dataclass(frozen=True)
class Prefixes:
    """Cached left sides of some rows, padded at the end.

    Attributes:
        rows: which examples (or prompts) they belong to, shape (n_rows,).
        keys_values: a layer's keys and values, each (n_rows, heads, padded length, head width);
            None where every prefix is empty.
        lengths: true lengths, shape (n_rows,).
        last: hidden state at each prefix's end, shape (n_rows, width); None as above.
    """

    rows: IntArray
    keys_values: KeysValues | None
    lengths: IntArray
    last: torch.Tensor | None

    def part(self, rows: slice | list[int]) -> "Prefixes":
        """Returns some of the rows, padding cut to their longest; a slice shares memory."""
        lengths = self.lengths[rows]
        size = int(lengths.max())
        past = self.keys_values
        return Prefixes(
            self.rows[rows],
            None if past is None else [(k[rows, :, :size], v[rows, :, :size]) for k, v in past],
            lengths,
            None if self.last is None else self.last[rows],
        )

    @property
    def bytes(self) -> int:
        """Memory of the cached keys and values."""
        return sum(k.nbytes + v.nbytes for k, v in self.keys_values or [])


class PackedForward:
    """Scores label words after packed segments; knows nothing of prompts and examples."""

    def __init__(self, backbone: Backbone, inputs: Inputs) -> None:
        """Prepares the head's rows for the label words."""
        self.backbone = backbone
        self._first = backbone.rows_of_head([word[0] for word in inputs.words])
        self.branches = [word[:-1] for word in inputs.words if len(word) > 1]
        long = [n for n, word in enumerate(inputs.words) if len(word) > 1]
        #: word, and the token it predicts, of every branch token, in reading order.
        self._branch_word = [n for n in long for _ in inputs.words[n][1:]]
        self._branch_next = backbone.rows_of_head(
            [token for n in long for token in inputs.words[n][1:]]
        )

    def prefixes(self, rows: IntArray, ids: Sequence[Sequence[int]]) -> Prefixes:
        """Computes keys and values of left sides, padded to the longest of them."""
        lengths = np.asarray([len(row) for row in ids], np.int64)
        size = int(lengths.max(initial=0))
        if size == 0:
            return Prefixes(rows, None, lengths, None)
        tokens = np.zeros((len(ids), size), np.int64)
        for n, row in enumerate(ids):
            tokens[n, : len(row)] = row
        causal = np.broadcast_to(np.tri(size, dtype=bool), (len(ids), size, size))
        positions = np.broadcast_to(np.arange(size), tokens.shape)
        backbone = self.backbone
        hidden, cache = backbone.hidden(
            backbone.tensor(tokens),
            mask=backbone.tensor(causal),
            positions=backbone.tensor(positions),
            past=None,
            real_tokens=int(lengths.sum()),
            to_be_shared=True,
        )
        ends = backbone.tensor(np.maximum(lengths - 1, 0))
        last = hidden[torch.arange(len(ids), device=backbone.device), ends]
        layers: Any = cache.layers
        keys_values = [(layer.keys, layer.values) for layer in layers]
        return Prefixes(rows, keys_values, lengths, last)

    def words(self, prefixes: Prefixes, row: Row) -> torch.Tensor:
        """Scores every label word after every segment.

        Args:
            prefixes: cached left sides of n_rows rows.
            row: stacked rows, leading axis n_rows.

        Returns:
            Log-probability of each word up to a constant shared by the words of a segment,
            shape (n_rows, n_segments, n_words), float32.
        """
        hidden = self._hidden(prefixes, row)
        ends = self._at_ends(prefixes, hidden, row.ends)
        weight, bias = self._first
        scores = ends.float() @ weight.T + bias
        if self._branch_word:
            reads = self.backbone.tensor(row.branch_reads)
            rows, segments, count = reads.shape
            flat = reads.reshape(rows, segments * count, 1).expand(-1, -1, hidden.shape[-1])
            states = hidden.gather(1, flat).reshape(rows, segments, count, -1)
            weight, bias = self._branch_next
            logits = (states.float() * weight).sum(-1) + bias
            # Tokens after a word's first need the whole vocabulary's normaliser: unlike the
            # first token's, it is not the same for every word.
            normaliser = self.backbone.full_log_normaliser(states.reshape(-1, states.shape[-1]))
            for n, word in enumerate(self._branch_word):
                scores[:, :, word] += (logits - normaliser.view(rows, segments, count))[:, :, n]
        return scores

    def first_words_everywhere(self, prefixes: Prefixes, row: Row) -> torch.Tensor:
        """Scores one-token words after every token: shape (n_rows, length, n_words)."""
        weight, bias = self._first
        return self._hidden(prefixes, row).float() @ weight.T + bias

    def next_tokens(
        self, prefixes: Prefixes, row: Row, head: tuple[torch.Tensor, torch.Tensor]
    ) -> torch.Tensor:
        """Scores some tokens as what follows each segment.

        Args:
            prefixes: cached left sides of n_rows rows.
            row: stacked rows.
            head: weight rows (n_ids, width) and biases (n_ids,) of the tokens.

        Returns:
            Logits, shape (n_rows, n_segments, n_ids), float32.
        """
        weight, bias = head
        ends = self._at_ends(prefixes, self._hidden(prefixes, row), row.ends)
        return ends.float() @ weight.T + bias

    def own_tokens(self, prefixes: Prefixes, row: Row) -> torch.Tensor:
        """Scores the tokens of rows of one trunk each, given what stands left of them.

        Args:
            prefixes: cached left sides of n_rows rows, none of them empty.
            row: stacked rows of one trunk without branches.

        Returns:
            Log-probabilities over the whole vocabulary, shape (n_rows, length), float32; of
            padding too.
        """
        assert prefixes.last is not None
        backbone = self.backbone
        hidden = self._hidden(prefixes, row)
        # What predicts a token stands one place left of it.
        states = torch.cat([prefixes.last[:, None], hidden[:, :-1]], dim=1)
        states = states[:, : row.tokens.shape[1]]
        weight, bias = backbone.rows_of_head(row.tokens.ravel().tolist())
        flat = states.reshape(-1, states.shape[-1])
        logits = (flat.float() * weight).sum(-1) + bias
        return (logits - backbone.full_log_normaliser(flat)).reshape(row.tokens.shape)

    def _hidden(self, prefixes: Prefixes, row: Row) -> torch.Tensor:
        backbone = self.backbone
        if not row.tokens.shape[1]:
            assert prefixes.last is not None
            return prefixes.last.new_zeros((len(prefixes.rows), 0, prefixes.last.shape[-1]))
        size = 0 if prefixes.keys_values is None else int(prefixes.keys_values[0][0].shape[2])
        mask = visible(row, prefixes.lengths, size)
        hidden, _ = backbone.hidden(
            backbone.tensor(row.tokens),
            mask=backbone.tensor(mask),
            positions=backbone.tensor(row.position + prefixes.lengths[:, None]),
            past=prefixes.keys_values,
            real_tokens=int((row.parent != PAD).sum()),
            saved_tokens=int(row.saved.sum()),
        )
        return hidden

    def _at_ends(self, prefixes: Prefixes, hidden: torch.Tensor, ends: IntArray) -> torch.Tensor:
        """Gathers the hidden state at each trunk's end, the prefix's own end for empty trunks."""
        backbone = self.backbone
        rows, segments = ends.shape
        if prefixes.last is not None:
            hidden = torch.cat([prefixes.last[:, None], hidden], dim=1)
            index = backbone.tensor(ends + 1)
        else:
            index = backbone.tensor(ends)
        return hidden.gather(1, index[:, :, None].expand(rows, segments, hidden.shape[-1]))


def label_logprobs(scores: torch.Tensor, word_label: Sequence[int], n_labels: int) -> FloatArray:
    """Sums word probabilities a label and normalises over the labels.

    Args:
        scores: word log-probabilities up to a shared constant, shape (..., n_words).
        word_label: label index of each word.
        n_labels: number of labels.

    Returns:
        Shape (..., n_labels), float64.
    """
    labels = torch.as_tensor(word_label, device=scores.device)
    columns = [scores[..., labels == n].logsumexp(dim=-1) for n in range(n_labels)]
    normalised = torch.stack(columns, dim=-1).double().log_softmax(dim=-1)
    return np.asarray(normalised.cpu().numpy())
