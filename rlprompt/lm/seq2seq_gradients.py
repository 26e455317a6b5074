"""Label scores of an encoder-decoder LM that can be differentiated."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from rlprompt.core.prompt import Prompt
from rlprompt.lm.gradients import Row, Words, stems_of
from rlprompt.lm.seq2seq_inputs import Seq2SeqInputs


class Seq2SeqRows:
    """Implements :class:`rlprompt.lm.gradients.Rows`: an ask is what is read of a label word."""

    def __init__(self, inputs: Seq2SeqInputs) -> None:
        """Keeps the examples."""
        self._inputs = inputs
        self.words: Words = inputs.words
        self.word_label: Sequence[int] = inputs.word_label
        self.asks: Mapping[Any, Sequence[int]] = stems_of(inputs.words)

    @property
    def n_examples(self) -> int:
        """Number of examples."""
        return self._inputs.n_examples

    @property
    def truncated(self) -> int:
        """How many examples' text was cut."""
        return self._inputs.truncated

    def row(self, example: int, prompt: Prompt, ask: tuple[int, ...]) -> Row:
        """See :meth:`rlprompt.lm.gradients.Rows.row`."""
        row = self._inputs.row_of(example, prompt)
        decoder = row.decoder + ask
        return Row(row.encoder, decoder, tuple(range(len(row.decoder) - 1, len(decoder))))


def seq2seq_forward(
    model: Any, embedded: torch.Tensor, mask: torch.Tensor, rows: Sequence[Row]
) -> torch.Tensor:
    """Implements :data:`rlprompt.lm.gradients.Forward`."""
    # Padding stands at the end, where causal attention keeps it out of sight.
    longest = max(len(row.decoder) for row in rows)
    decoder = [[*row.decoder, *[0] * (longest - len(row.decoder))] for row in rows]
    logits: torch.Tensor = model(
        inputs_embeds=embedded,
        attention_mask=mask,
        decoder_input_ids=torch.tensor(decoder, device=mask.device),
        use_cache=False,
    ).logits
    return logits
