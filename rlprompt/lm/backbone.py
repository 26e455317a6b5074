"""The Hugging Face model behind a frozen LM: metered forwards, one head that reads few rows."""

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from rlprompt.lm.protocol import Meter

if TYPE_CHECKING:
    from transformers import DynamicCache, PreTrainedModel

KeysValues = list[tuple[torch.Tensor, torch.Tensor]]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that a smaller batch may succeed."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError)
        # The CPU's allocator says the first, Apple's the second.
        and any(text in str(error) for text in ("allocate memory", "out of memory"))
    )


class Backbone:
    """A model in eval mode whose parameters never require a gradient."""

    def __init__(self, model: "PreTrainedModel") -> None:
        """Freezes the model."""
        # What transformers leaves without annotations is called through Any.
        self.model = cast(Any, model)
        self.model.requires_grad_(False)
        self.model.eval()
        self.meter = Meter()
        self._decoder: Any = model.base_model
        head = self.model.get_output_embeddings()
        self._head_weight: torch.Tensor = head.weight
        self._head_bias: torch.Tensor | None = getattr(head, "bias", None)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        device: torch.device = self.model.device
        return device

    def tensor(self, array: NDArray[Any]) -> torch.Tensor:
        """Copies an array to the model's device."""
        return torch.from_numpy(np.array(array, order="C")).to(self.device)

    def hidden(
        self,
        tokens: torch.Tensor,
        *,
        mask: torch.Tensor,
        positions: torch.Tensor,
        past: KeysValues | None,
        real_tokens: int,
        saved_tokens: int = 0,
        to_be_shared: bool = False,
    ) -> "tuple[torch.Tensor, DynamicCache]":
        """Runs the decoder without its head.

        Args:
            tokens: ids, shape (rows, length).
            mask: bool, shape (rows, length, past + length), True = visible.
            positions: position ids, shape (rows, length).
            past: keys and values a layer, each (rows, heads, past, head width), or None.
            real_tokens: how many of ``tokens`` are no padding, for the meter.
            saved_tokens: how many more there would be, had nothing been shared, for the meter.
            to_be_shared: whether the meter counts them as cached, not as scored.

        Returns:
            Hidden states (rows, length, width) and the cache, grown by the new tokens.
        """
        from transformers import DynamicCache

        started = time.perf_counter()
        low = torch.finfo(self.model.dtype).min
        additive = torch.zeros(mask.shape, dtype=self.model.dtype, device=mask.device)
        additive.masked_fill_(~mask, low)
        # Made anew from the stored tensors, since a forward grows the cache it is given.
        cache = DynamicCache(past) if past is not None else DynamicCache()
        output = self._decoder(
            input_ids=tokens,
            attention_mask=additive[:, None],
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        )
        self.count(real_tokens, started, to_be_shared=to_be_shared)
        self.meter.saved_tokens += saved_tokens
        return output.last_hidden_state, output.past_key_values

    def full_logits(self, tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Runs the whole model the plain way on right-padded rows.

        Args:
            tokens: ids, shape (rows, length).
            lengths: true lengths, shape (rows,).

        Returns:
            Logits of every position, shape (rows, length, vocabulary).
        """
        started = time.perf_counter()
        steps = torch.arange(tokens.shape[1], device=self.device)
        mask = (steps[None] < lengths[:, None]).long()
        logits: torch.Tensor = self.model(
            input_ids=tokens, attention_mask=mask, use_cache=False
        ).logits
        self.count(int(lengths.sum()), started)
        return logits

    def rows_of_head(self, ids: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns weight rows (n, width) and biases (n,) of the LM head in float32."""
        index = torch.tensor(list(ids), dtype=torch.long, device=self.device)
        weight = self._head_weight[index].float()
        if self._head_bias is None:
            return weight, torch.zeros(len(index), device=self.device)
        return weight, self._head_bias[index].float()

    def full_log_normaliser(self, hidden: torch.Tensor) -> torch.Tensor:
        """Returns log sum exp of all logits of hidden states (n, width), shape (n,), in blocks."""
        parts = []
        for block in torch.split(hidden, 256):
            logits = torch.nn.functional.linear(block, self._head_weight, self._head_bias)
            parts.append(logits.float().logsumexp(dim=-1))
        return torch.cat(parts) if parts else hidden.new_zeros(0)

    def count(self, tokens: int, started: float, *, to_be_shared: bool = False) -> None:
        """Counts a forward, once the device is done with it.

        Args:
            tokens: tokens that went through the LM, no padding.
            started: ``time.perf_counter()`` before the forward.
            to_be_shared: whether they are cached to be shared, not scored.
        """
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        if to_be_shared:
            self.meter.cached_tokens += tokens
        else:
            self.meter.tokens += tokens
        self.meter.seconds += time.perf_counter() - started


def free_cached_memory() -> None:
    """Gives cached accelerator memory back after a batch that did not fit."""
    with suppress(RuntimeError):
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
