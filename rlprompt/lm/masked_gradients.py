"""Label scores of a masked LM that can be differentiated."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from rlprompt.core.prompt import Prompt
from rlprompt.lm.gradients import Row, Words
from rlprompt.lm.masked_inputs import MaskedInputs


class MaskedRows:
    """Implements :class:`rlprompt.lm.gradients.Rows`: an ask is a number of masks."""

    def __init__(self, inputs: MaskedInputs) -> None:
        """Keeps the examples."""
        self._inputs = inputs
        self.words: Words = inputs.inputs.words
        self.word_label: Sequence[int] = inputs.inputs.word_label
        self.asks: Mapping[Any, Sequence[int]] = {
            size: [n for n, word in enumerate(self.words) if len(word) == size]
            for size in sorted(set(map(len, self.words)))
        }

    @property
    def n_examples(self) -> int:
        """Number of examples."""
        return len(self._inputs.inputs.sides)

    @property
    def truncated(self) -> int:
        """How many examples' text was cut."""
        return self._inputs.inputs.truncated

    def row(self, example: int, prompt: Prompt, ask: int) -> Row:
        """See :meth:`rlprompt.lm.gradients.Rows.row`."""
        ids, at = self._inputs.row(example, prompt, ask)
        return Row(ids, (), tuple(range(at, at + ask)))


def masked_forward(
    model: Any, embedded: torch.Tensor, mask: torch.Tensor, rows: Sequence[Row]
) -> torch.Tensor:
    """Implements :data:`rlprompt.lm.gradients.Forward`."""
    logits: torch.Tensor = model(inputs_embeds=embedded, attention_mask=mask).logits
    return logits
