"""The Hugging Face model behind an encoder-decoder LM: metered forwards of its two halves."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from rlprompt.lm.backbone import Backbone

if TYPE_CHECKING:
    from transformers import Cache, PreTrainedModel


class Seq2SeqBackbone(Backbone):
    """An encoder-decoder model in eval mode whose parameters never require a gradient.

    Attributes:
        scale: what the decoder's hidden states are multiplied with before the head reads them. T5
            before version 1.1 has width ** -0.5 there, most others 1.
    """

    def __init__(self, model: "PreTrainedModel") -> None:
        """Freezes the model."""
        super().__init__(model)
        self.scale = 1.0
        self._encoder = cast(Any, model).get_encoder()
        self._decoder = cast(Any, model).get_decoder()
        # BART's, which is added to what the head gives.
        bias: torch.Tensor | None = getattr(model, "final_logits_bias", None)
        if bias is not None:
            own = self._head_bias
            self._head_bias = bias.reshape(-1) if own is None else own + bias.reshape(-1)

    @property
    def width(self) -> int:
        """Width of the hidden states that the head reads."""
        return int(self._head_weight.shape[1])

    def encode(self, rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Runs the encoder.

        Args:
            rows: ids of each row, none of them empty.

        Returns:
            Hidden states (n_rows, length, width), padded at the end, and the mask (n_rows, length),
            1 where a row has a token.
        """
        started = time.perf_counter()
        tokens, mask = self._padded(rows)
        states = self._encoder(input_ids=tokens, attention_mask=mask).last_hidden_state
        self.count(sum(map(len, rows)), started)
        return states, mask

    def decode(
        self,
        rows: Sequence[Sequence[int]],
        states: torch.Tensor,
        mask: torch.Tensor,
        cross: "Cache | None",
    ) -> torch.Tensor:
        """Runs the decoder without the head.

        Args:
            rows: ids of each row that the decoder reads.
            states: what the encoder gave for these rows, (n_rows, encoder length, width).
            mask: the encoder's mask, (n_rows, encoder length).
            cross: keeps the keys and values of ``states``, made at its first use, for the next;
                None to keep nothing.

        Returns:
            What the head reads, (n_rows, length, width), padded at the end.
        """
        from transformers import DynamicCache, EncoderDecoderCache

        started = time.perf_counter()
        # Padding stands at the end, where causal attention keeps it out of sight.
        tokens, _ = self._padded(rows)
        past = None if cross is None else EncoderDecoderCache(DynamicCache(), cross)
        output = self._decoder(
            input_ids=tokens,
            encoder_hidden_states=states,
            encoder_attention_mask=mask,
            past_key_values=past,
            use_cache=past is not None,
        )
        hidden: torch.Tensor = output.last_hidden_state
        self.count(sum(map(len, rows)), started)
        return hidden if self.scale == 1.0 else hidden * self.scale

    def own_logits(
        self, encoder: Sequence[Sequence[int]], decoder: Sequence[Sequence[int]]
    ) -> torch.Tensor:
        """Runs the whole model the plain way.

        Args:
            encoder: ids of each row that the encoder reads.
            decoder: ids of each row that the decoder reads.

        Returns:
            Logits of every decoder position, (n_rows, length, vocabulary), padded at the end.
        """
        started = time.perf_counter()
        tokens, mask = self._padded(encoder)
        targets, _ = self._padded(decoder)
        logits: torch.Tensor = self.model(
            input_ids=tokens, attention_mask=mask, decoder_input_ids=targets, use_cache=False
        ).logits
        self.count(sum(map(len, (*encoder, *decoder))), started)
        return logits

    def _padded(self, rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        tokens = np.zeros((len(rows), max(map(len, rows))), np.int64)
        mask = np.zeros_like(tokens)
        for n, row in enumerate(rows):
            tokens[n, : len(row)] = row
            mask[n, : len(row)] = 1
        return self.tensor(tokens), self.tensor(mask)
