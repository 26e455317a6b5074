"""A BERT-style frozen LM: the answer stands where the template has ``{mask}``."""

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import nn

from rlprompt.core.evaluation import FloatArray
from rlprompt.core.prompt import Prompt
from rlprompt.lm.adapting import with_mask
from rlprompt.lm.backbone import Backbone
from rlprompt.lm.batching import Limits
from rlprompt.lm.gradients import RowScorer
from rlprompt.lm.identity import identify
from rlprompt.lm.masked_forward import HeadAtMasks, MaskedBatch, MaskedForward, WholeLogits
from rlprompt.lm.masked_gradients import MaskedRows, masked_forward
from rlprompt.lm.masked_inputs import MaskedInputs, mask_token, masked_inputs
from rlprompt.lm.masked_scorer import MaskedScorer
from rlprompt.lm.protocol import ChoiceScorer, GradientScorer, Identity, Meter
from rlprompt.lm.tokenizer import HFTokenizer
from rlprompt.tasks.examples import Example
from rlprompt.tasks.template import Template
from rlprompt.tasks.verbalizer import Verbalizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)

#: What a model may raise whose head cannot be taken apart.
_REFUSALS = (
    AttributeError,
    AssertionError,
    IndexError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)


class MaskedLM:
    """Any Hugging Face masked LM. Implements :class:`rlprompt.lm.protocol.FrozenLM`.

    Label words of one token compete at one mask. A word of several tokens has as many masks, and
    its score is the sum of its tokens' log-probabilities over the whole vocabulary, which makes
    words of different lengths comparable (:class:`rlprompt.lm.masked_scorer.MaskedScorer`).

    Whether the head can be run at the mask positions alone is found out by trying: at the first
    ``bind`` a few random tokens are scored that way and with the model's own logits. Where the two
    differ, everything is scored with whole logits and the log says so.
    """

    def __init__(
        self,
        model: "PreTrainedModel",
        tokenizer: "PreTrainedTokenizerBase",
        *,
        name: str = "custom",
        revision: str = "",
        limits: Limits | None = None,
    ) -> None:
        """Freezes a loaded model.

        Args:
            model: a masked LM with its head.
            tokenizer: its tokenizer.
            name: what results call it.
            revision: commit or file, for results.
            limits: how much goes into one forward; None for what suits the device.

        Raises:
            LMError: the tokenizer has no mask token.
        """
        self._backbone = Backbone(model)
        self.model = model
        self._embedding = cast(Any, model.get_input_embeddings())
        rows = self._embedding.weight.shape[0]
        self._tokenizer = HFTokenizer(tokenizer, rows, prose=True)
        self._mask = mask_token(self._tokenizer)
        self._identity = identify(model, tokenizer, name=name, family="masked", revision=revision)
        on_gpu = self._backbone.device.type != "cpu"
        self._limits = limits or (Limits(batch_tokens=32_768) if on_gpu else Limits())
        self._forward: MaskedForward | None = None

    @property
    def identity(self) -> Identity:
        """Which LM this is."""
        return self._identity

    @property
    def tokenizer(self) -> HFTokenizer:
        """The LM's own tokenizer."""
        return self._tokenizer

    @property
    def meter(self) -> Meter:
        """Running count of tokens and seconds of all forwards."""
        return self._backbone.meter

    @property
    def context(self) -> int | None:
        """Longest sequence in tokens; None where the architecture sets no limit."""
        limit = getattr(self.model.config, "max_position_embeddings", None)
        found = [*_positions(self.model), *([int(limit)] if limit else [])]
        return min(found, default=None)

    def adapt(self, template: Template) -> Template:
        """Puts ``{mask}`` where it is missing, see :func:`rlprompt.lm.adapting.with_mask`."""
        return with_mask(template)

    def bind(
        self,
        template: Template,
        verbalizer: Verbalizer,
        examples: Sequence[Example],
        *,
        max_prompt_tokens: int,
    ) -> ChoiceScorer:
        """See :meth:`rlprompt.lm.protocol.FrozenLM.bind`."""
        scorer = self._scorer(template, verbalizer, examples, max_prompt_tokens)
        if self._forward is None:
            self._forward = self._probe()
        return scorer(self._forward)

    def plain(
        self,
        template: Template,
        verbalizer: Verbalizer,
        examples: Sequence[Example],
        *,
        max_prompt_tokens: int,
    ) -> ChoiceScorer:
        """Like :meth:`bind`, but with whole logits: the yardstick of tests and benchmarks."""
        scorer = self._scorer(template, verbalizer, examples, max_prompt_tokens)
        return scorer(WholeLogits(self._backbone))

    def _scorer(
        self,
        template: Template,
        verbalizer: Verbalizer,
        examples: Sequence[Example],
        max_prompt_tokens: int,
    ) -> Callable[[MaskedForward], MaskedScorer]:
        inputs = self._inputs(template, verbalizer, examples, max_prompt_tokens)
        return lambda forward: MaskedScorer(
            self._backbone,
            inputs,
            len(verbalizer),
            self._limits,
            forward=forward,
            pad_id=self._pad_id,
        )

    def _inputs(
        self,
        template: Template,
        verbalizer: Verbalizer,
        examples: Sequence[Example],
        max_prompt_tokens: int,
    ) -> MaskedInputs:
        return masked_inputs(
            self._tokenizer,
            template,
            verbalizer,
            examples,
            max_prompt_tokens=max_prompt_tokens,
            context=self.context,
        )

    def bind_gradients(
        self,
        template: Template,
        verbalizer: Verbalizer,
        examples: Sequence[Example],
        *,
        prompt: Prompt,
        soft_tokens: int,
        model: torch.nn.Module | None,
    ) -> GradientScorer:
        """See :meth:`rlprompt.lm.protocol.GradientLM.bind_gradients`."""
        room = max(soft_tokens, len(prompt))
        rows = MaskedRows(self._inputs(template, verbalizer, examples, room))
        return RowScorer(model or self.model, rows, len(verbalizer), prompt, masked_forward)

    def embeddings(self, ids: Sequence[int]) -> FloatArray:
        """Returns copies of input embedding rows, shape (len(ids), width), float64."""
        weight = self._embedding.weight
        rows = weight[torch.tensor(list(ids), dtype=torch.long, device=weight.device)]
        return np.asarray(rows.double().cpu().numpy())

    @property
    def _pad_id(self) -> int:
        # The model's own comes first: RoBERTa counts positions by it.
        for found in (self.model.config.pad_token_id, self._tokenizer.hf.pad_token_id):
            if isinstance(found, int):
                return found
        return 0

    @torch.inference_mode()
    def _probe(self) -> MaskedForward:
        """Returns the fast forward if it scores random tokens as the model's own logits do."""
        plain = WholeLogits(self._backbone)
        batch, words = self._random_batch()
        expected = plain.word_scores(batch, words, normalised=True)
        try:
            fast = HeadAtMasks(self._backbone)
            found = fast.word_scores(batch, words, normalised=True)
            difference = float((found - expected).abs().max())
            reason = f"scores differ by {difference:.2g}"
        except _REFUSALS as error:
            difference, reason = float("inf"), f"{type(error).__name__}: {error}"
        exact = self.model.dtype in (torch.float32, torch.float64)
        if difference <= (1e-3 if exact else 0.2):
            return fast
        log.warning(
            "%s (%s) cannot run its head at the mask positions alone (%s): scoring with whole "
            "logits, the slower way.",
            self._identity.name,
            type(self.model).__name__,
            reason,
        )
        return plain

    def _random_batch(self) -> tuple[MaskedBatch, list[tuple[int, int]]]:
        """Returns two rows of 9 and 6 tokens with two masks each, and three words."""
        generator = np.random.default_rng(0)
        ordinary = sorted({*range(self._tokenizer.vocab_size)} - self._tokenizer.special_ids)
        ids = generator.choice(ordinary, size=24)
        tokens = ids[:18].reshape(2, 9)
        masks = np.asarray([[4, 5], [1, 2]])
        np.put_along_axis(tokens, masks, self._mask.id, axis=1)
        tokens[1, 6:] = self._pad_id
        tensor = self._backbone.tensor
        batch = MaskedBatch(tensor(tokens), tensor(np.asarray([9, 6])), tensor(masks))
        return batch, [(int(a), int(b)) for a, b in ids[18:].reshape(3, 2)]


def _positions(model: nn.Module) -> list[int]:
    """Returns how many positions each table of position embeddings has room for.

    A table with a padding row, as RoBERTa's, starts counting after that row.
    """
    return [
        table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1)
        for name, table in model.named_modules()
        if name.endswith("position_embeddings") and isinstance(table, nn.Embedding)
    ]
