"""Label scores of a causal LM that can be differentiated."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch.nn import functional

from rlprompt.lm.gradients import Slot, label_scores, stems_of
from rlprompt.lm.inputs import Inputs

#: Left sides that are computed in one forward.
_BLOCK = 8
#: A layer's keys and values.
KeysValues = list[tuple[torch.Tensor, torch.Tensor]]


class CausalGradientScorer:
    """Implements :class:`rlprompt.lm.gradients.GradientScorer`.

    Where only a soft prompt is trained and the text stands left of it, keys and values of the text
    are computed once: no gradient goes through them.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        inputs: Inputs,
        n_labels: int,
        *,
        prompt: tuple[int, ...],
        keep_left: bool,
    ) -> None:
        """Keeps what it is given.

        Args:
            model: a causal LM, be it with an adapter.
            inputs: the examples.
            n_labels: number of labels.
            prompt: ids in the place of the prompt where no soft prompt is given.
            keep_left: whether the model never changes, so that the left sides may be kept.
        """
        self._model = cast(Any, model)
        self._inputs = inputs
        self._n_labels = n_labels
        self._prompt = prompt
        self._stems = stems_of(inputs.words)
        self._kept: dict[int, KeysValues] = {}
        self._keeps = keep_left and all(inputs.left)

    @property
    def n_examples(self) -> int:
        """Number of examples."""
        return len(self._inputs.left)

    @property
    def truncated(self) -> int:
        """How many examples' text was cut so that prompt and answer fit the context."""
        return self._inputs.truncated

    def choice_logprobs(
        self, examples: Sequence[int], soft: torch.Tensor | None = None
    ) -> torch.Tensor:
        """See :meth:`rlprompt.lm.gradients.GradientScorer.choice_logprobs`."""
        columns: dict[int, torch.Tensor] = {}
        for stem, wanted in self._stems.items():
            logprobs = self._after(examples, soft, stem)
            for n in wanted:
                word = self._inputs.words[n]
                index = torch.tensor(word, device=logprobs.device)
                columns[n] = logprobs[:, torch.arange(len(word)), index].sum(-1)
        scores = torch.stack([columns[n] for n in range(len(columns))], dim=-1)
        return label_scores(scores, self._inputs.word_label, self._n_labels)

    def _after(
        self, examples: Sequence[int], soft: torch.Tensor | None, stem: tuple[int, ...]
    ) -> torch.Tensor:
        """Returns log-probabilities of what follows the text and each token of ``stem``.

        Shape (len(examples), len(stem) + 1, vocabulary), float32.
        """
        filling = () if soft is not None else self._prompt
        gap = 0 if soft is None else len(soft)
        right = [(*filling, *self._inputs.right[e], *stem) for e in examples]
        # Where nothing stands behind the text, the answer is read at the text's own end.
        keeps = self._keeps and gap + min(map(len, right)) > 0
        left = [() if keeps else self._inputs.left[e] for e in examples]
        device = self._model.device
        slot = Slot.of(list(zip(left, right, strict=True)), gap, device)
        given = {
            "inputs_embeds": slot.embedded(self._model, soft),
            "attention_mask": slot.attention_mask,
        }
        logits = self._model(
            **(self._behind(examples, given) if keeps else {**given, "use_cache": False})
        ).logits
        steps = torch.arange(len(stem) + 1, device=device)
        ends = slot.lengths[:, None] - 1 - len(stem) + steps
        index = ends[:, :, None].expand(-1, -1, logits.shape[-1])
        return cast(torch.Tensor, logits.gather(1, index).float().log_softmax(dim=-1))

    def _behind(self, examples: Sequence[int], given: dict[str, torch.Tensor]) -> dict[str, Any]:
        """Returns what the model is called with so that rows stand behind the kept left sides."""
        from transformers import DynamicCache

        self._keep([e for e in dict.fromkeys(examples) if e not in self._kept])
        device = self._model.device
        lengths = torch.tensor([len(self._inputs.left[e]) for e in examples], device=device)
        longest = int(lengths.max())
        # Padded at the end, and hidden by the mask.
        past = [
            tuple(
                torch.stack(
                    [
                        functional.pad(each, (0, 0, 0, longest - each.shape[-2]))
                        for each in (self._kept[e][layer][kind] for e in examples)
                    ]
                )
                for kind in (0, 1)
            )
            for layer in range(len(self._kept[examples[0]]))
        ]
        there = torch.arange(longest, device=device)[None] < lengths[:, None]
        steps = torch.arange(given["inputs_embeds"].shape[1], device=device)
        return {
            "inputs_embeds": given["inputs_embeds"],
            "attention_mask": torch.cat([there.long(), given["attention_mask"]], dim=1),
            "position_ids": lengths[:, None] + steps,
            "past_key_values": DynamicCache(past),
            # A cache is only read where it is in use.
            "use_cache": True,
        }

    @torch.no_grad()
    def _keep(self, examples: Sequence[int]) -> None:
        """Computes keys and values of left sides, each (heads, its length, head width)."""
        for block in (examples[n : n + _BLOCK] for n in range(0, len(examples), _BLOCK)):
            slot = Slot.of([(self._inputs.left[e], ()) for e in block], 0, self._model.device)
            cache = self._model(
                input_ids=slot.ids, attention_mask=slot.attention_mask, use_cache=True
            ).past_key_values
            for row, (e, length) in enumerate(zip(block, slot.lengths.tolist(), strict=True)):
                self._kept[e] = [
                    (layer.keys[row, :, :length].clone(), layer.values[row, :, :length].clone())
                    for layer in cache.layers
                ]
