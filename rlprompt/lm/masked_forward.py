"""Two ways to ask a masked LM for words at its mask positions; both give the same numbers.

* :class:`HeadAtMasks`: the encoder without its head; the head's transform at mask positions only,
  and of the decoder only the rows of the words.
* :class:`WholeLogits`: the model as it is, logits of the whole vocabulary at every position.
"""

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import nn

from rlprompt.lm.backbone import Backbone


@dataclass(frozen=True)
class MaskedBatch:
    """Right-padded rows with the same number of masks each.

    Attributes:
        tokens: ids, shape (rows, length).
        lengths: true lengths, shape (rows,).
        masks: where the masks stand, shape (rows, n_masks).
    """

    tokens: torch.Tensor
    lengths: torch.Tensor
    masks: torch.Tensor

    @property
    def attention_mask(self) -> torch.Tensor:
        """1 where a token stands and 0 where padding does, shape (rows, length)."""
        steps = torch.arange(self.tokens.shape[1], device=self.tokens.device)
        return (steps[None] < self.lengths[:, None]).long()

    def at_masks(self, values: torch.Tensor) -> torch.Tensor:
        """Gathers from (rows, length, width) what stands at the masks: (rows, n_masks, width)."""
        index = self.masks[:, :, None].expand(*self.masks.shape, values.shape[-1])
        return values.gather(1, index)


class MaskedForward(Protocol):
    """Scores words of one number of tokens at as many masks."""

    def word_scores(
        self, batch: MaskedBatch, words: Sequence[Sequence[int]], *, normalised: bool
    ) -> torch.Tensor:
        r"""Scores each word by its tokens' log-probabilities, each at its own mask.

        Args:
            batch: rows of n_masks masks.
            words: token ids, n_masks each.
            normalised: whether scores of words of other numbers of tokens will be compared with
                these. If not, a constant a row may be left out.

        Returns:
            :math:`\sum_i \log p(w_i \mid \text{row})`, shape (rows, len(words)), float32.
        """


class WholeLogits:
    """Implements :class:`MaskedForward` for every architecture, slowly."""

    def __init__(self, backbone: Backbone) -> None:
        """Keeps the model."""
        self._backbone = backbone

    def word_scores(
        self, batch: MaskedBatch, words: Sequence[Sequence[int]], *, normalised: bool
    ) -> torch.Tensor:
        """See :meth:`MaskedForward.word_scores`; always normalised."""
        started = time.perf_counter()
        logits = self._backbone.model(
            input_ids=batch.tokens, attention_mask=batch.attention_mask
        ).logits
        self._backbone.count(int(batch.lengths.sum()), started)
        # (rows, n_masks, vocabulary)
        logprobs = batch.at_masks(logits).float().log_softmax(dim=-1)
        ids = torch.tensor(words, device=logprobs.device)
        return torch.stack(
            [logprobs[:, n, ids[:, n]] for n in range(ids.shape[1])],
        ).sum(dim=0)


class HeadAtMasks:
    """Implements :class:`MaskedForward` for models of the form decoder(transform(encoder(ids))).

    Whether a model has that form is for the caller to find out, by comparing scores.
    """

    def __init__(self, backbone: Backbone) -> None:
        """Takes the head apart; the model itself stays as it is."""
        self._backbone = backbone
        self._encoder: Any = backbone.model.base_model
        self._transform: Any = transform_of(backbone.model)

    def word_scores(
        self, batch: MaskedBatch, words: Sequence[Sequence[int]], *, normalised: bool
    ) -> torch.Tensor:
        """See :meth:`MaskedForward.word_scores`."""
        backbone = self._backbone
        started = time.perf_counter()
        states = self._encoder(
            input_ids=batch.tokens, attention_mask=batch.attention_mask
        ).last_hidden_state
        # (rows, n_masks, width)
        transformed = self._transform(inputs_embeds=batch.at_masks(states)).logits
        backbone.count(int(batch.lengths.sum()), started)
        rows, masks, width = transformed.shape
        weight, bias = backbone.rows_of_head([i for word in words for i in word])
        scores = torch.einsum(
            "rnw,knw->rk", transformed.float(), weight.reshape(len(words), masks, width)
        )
        scores = scores + bias.reshape(len(words), masks).sum(dim=1)
        if normalised:
            normaliser = backbone.full_log_normaliser(transformed.reshape(-1, width))
            scores = scores - normaliser.reshape(rows, masks).sum(dim=1, keepdim=True)
        return scores


@dataclass
class _Output:
    """What an encoder gives, as far as heads read it."""

    last_hidden_state: torch.Tensor

    def __getitem__(self, index: int) -> torch.Tensor:
        return (self.last_hidden_state,)[index]

    def __getattr__(self, name: str) -> None:
        """Everything else that an architecture passes on, such as attentions, is not there."""


class _Passed(nn.Module):
    """Stands in for an encoder: gives back the states that it is handed."""

    def forward(self, *_: object, inputs_embeds: torch.Tensor, **__: object) -> _Output:
        """Returns ``inputs_embeds`` as the last hidden state."""
        return _Output(inputs_embeds)


def transform_of(model: nn.Module) -> nn.Module:
    """Returns a masked LM's head without its decoder, whatever its modules are called.

    Transformers has no name for that part, and each architecture lays it out in its own way, some
    in the model's ``forward`` itself. So it is the model's own ``forward`` that runs here, on a
    copy which shares every weight, with the encoder replaced by its result and the decoder by
    nothing: called with ``inputs_embeds`` of shape (rows, n, width) it gives the transformed
    states as ``logits``.
    """
    whole = cast(Any, model)
    replaced = {id(whole.base_model): _Passed(), id(whole.get_output_embeddings()): nn.Identity()}
    return _with(model, replaced)


def _with(module: nn.Module, replaced: Mapping[int, nn.Module]) -> nn.Module:
    """Copies a module down to what is replaced; everything else is shared with the original."""
    if id(module) in replaced:
        return replaced[id(module)]
    if not any(id(part) in replaced for part in module.modules()):
        return module
    clone = copy.copy(module)
    clone._modules = {
        name: None if child is None else _with(child, replaced)
        for name, child in module._modules.items()
    }
    return clone
