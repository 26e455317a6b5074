"""Label scores of a causal LM that can be differentiated."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional

from rlprompt.core.prompt import Prompt
from rlprompt.lm.bundles import Bundle, tree
from rlprompt.lm.gradients import Row, RowScorer, Words, answers, narrow_head, stems_of
from rlprompt.lm.inputs import Inputs

#: Left sides that are computed in one forward.
_BLOCK = 8
#: A layer's keys and values, each (heads, length, head width).
KeysValues = list[tuple[torch.Tensor, torch.Tensor]]


class CausalRows:
    """Implements :class:`rlprompt.lm.gradients.Rows`: an ask is what is read of a label word."""

    def __init__(self, inputs: Inputs) -> None:
        """Keeps the examples."""
        self.inputs = inputs
        self.words: Words = inputs.words
        self.word_label: Sequence[int] = inputs.word_label
        self.asks: Mapping[Any, Sequence[int]] = stems_of(inputs.words)

    @property
    def n_examples(self) -> int:
        """Number of examples."""
        return len(self.inputs.sides)

    @property
    def truncated(self) -> int:
        """How many examples' text was cut."""
        return self.inputs.truncated

    def row(self, example: int, prompt: Prompt, ask: tuple[int, ...]) -> Row:
        """See :meth:`rlprompt.lm.gradients.Rows.row`."""
        return self._row((*self.inputs.left[example], *prompt.ids), example, ask)

    def right_of_text(self, example: int, prompt: Prompt, ask: tuple[int, ...]) -> Row:
        """Returns a row without what stands left of the prompt."""
        return self._row(prompt.ids, example, ask)

    def _row(self, begin: tuple[int, ...], example: int, ask: tuple[int, ...]) -> Row:
        ids = (*begin, *self.inputs.right[example], *ask)
        end = len(ids) - len(ask) - 1
        return Row(ids, (), tuple(range(end, len(ids))))


def causal_forward(
    model: Any, embedded: torch.Tensor, mask: torch.Tensor, rows: Sequence[Row]
) -> torch.Tensor:
    """Implements :data:`rlprompt.lm.gradients.Forward`; rows may be bundles."""
    bundles = [row for row in rows if isinstance(row, Bundle)]
    if any(len(each.members) > 1 for each in bundles):
        return _bundled_forward(model, embedded, bundles)
    logits: torch.Tensor = model(
        inputs_embeds=embedded, attention_mask=mask, use_cache=False
    ).logits
    return logits


def _bundled_forward(model: Any, embedded: torch.Tensor, bundles: Sequence[Bundle]) -> torch.Tensor:
    positions, visible = tree(bundles, embedded.shape[1])
    mask = torch.zeros(visible.shape, dtype=embedded.dtype)
    mask.masked_fill_(~visible, torch.finfo(embedded.dtype).min)
    logits: torch.Tensor = model(
        inputs_embeds=embedded,
        attention_mask=mask[:, None].to(embedded.device),
        position_ids=positions.to(embedded.device),
        use_cache=False,
    ).logits
    return logits


class KeptLeftScorer(RowScorer):
    """For a model that never changes: keys and values left of a soft prompt are computed once.

    No gradient goes through them, and a step costs what stands right of the text alone.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        rows: CausalRows,
        n_labels: int,
        prompt: Prompt,
        reads_bundles: Callable[[], bool],
    ) -> None:
        """Keeps what it is given; every example has something left of the prompt."""
        super().__init__(model, rows, n_labels, prompt, causal_forward, reads_bundles)
        self._causal = rows
        self._kept: dict[int, KeysValues] = {}

    def choice_logprobs(
        self, examples: Sequence[int], soft: torch.Tensor | None = None
    ) -> torch.Tensor:
        """See :meth:`rlprompt.lm.gradients.GradientScorer.choice_logprobs`."""
        if soft is None or not len(soft):
            return super().choice_logprobs(examples, soft)
        prompt = Prompt(tuple(-1 - n for n in range(len(soft))))
        asked = [(e, ask) for ask in self._causal.asks for e in examples]
        rows = [self._causal.right_of_text(e, prompt, ask) for e, ask in asked]
        behind = self._behind([e for e, _ in asked])
        return self.read(answers(self.model, rows, [soft] * len(rows), behind))

    def _behind(self, examples: Sequence[int]) -> Any:
        """Returns a forward for rows that stand behind the kept left sides of these examples."""
        from transformers import DynamicCache

        self._keep([e for e in dict.fromkeys(examples) if e not in self._kept])
        kept = [self._kept[e] for e in examples]
        lengths = [len(self._causal.inputs.left[e]) for e in examples]

        def padded(layer: int, kind: int) -> torch.Tensor:
            each = [one[layer][kind] for one in kept]
            rest = [max(lengths) - length for length in lengths]
            # At the end, where the mask hides it.
            rows = [functional.pad(k, (0, 0, 0, n)) for k, n in zip(each, rest, strict=True)]
            return torch.stack(rows)

        past = [(padded(layer, 0), padded(layer, 1)) for layer in range(len(kept[0]))]

        def forward(
            model: Any, embedded: torch.Tensor, mask: torch.Tensor, rows: Sequence[Row]
        ) -> torch.Tensor:
            length = torch.tensor(lengths, device=mask.device)[:, None]
            there = torch.arange(max(lengths), device=mask.device)[None] < length
            logits: torch.Tensor = model(
                inputs_embeds=embedded,
                attention_mask=torch.cat([there.long(), mask], dim=1),
                position_ids=length + torch.arange(embedded.shape[1], device=mask.device),
                past_key_values=DynamicCache(past),
                # A cache is only read where it is in use.
                use_cache=True,
            ).logits
            return logits

        return forward

    @torch.no_grad()
    def _keep(self, examples: Sequence[int]) -> None:
        """Computes keys and values of left sides."""
        model: Any = self.model
        for block in (examples[n : n + _BLOCK] for n in range(0, len(examples), _BLOCK)):
            lefts = [self._causal.inputs.left[e] for e in block]
            longest = max(map(len, lefts))
            padding = [[0] * (longest - len(left)) for left in lefts]
            with narrow_head(model, [(0,)] * len(block)):
                cache = model(
                    input_ids=torch.tensor(
                        [[*left, *pad] for left, pad in zip(lefts, padding, strict=True)],
                        device=model.device,
                    ),
                    attention_mask=torch.tensor(
                        [[1] * len(left) + pad for left, pad in zip(lefts, padding, strict=True)],
                        device=model.device,
                    ),
                    use_cache=True,
                ).past_key_values
            for row, (e, left) in enumerate(zip(block, lefts, strict=True)):
                # Copies: views would keep the whole block's padding alive.
                self._kept[e] = [
                    (
                        each.keys[row, :, : len(left)].clone(),
                        each.values[row, :, : len(left)].clone(),
                    )
                    for each in cache.layers
                ]
