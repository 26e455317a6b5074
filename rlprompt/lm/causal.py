"""A GPT-style frozen LM: the answer follows the rendered text."""

import logging
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from rlprompt.core.evaluation import FloatArray
from rlprompt.core.prompt import Prompt
from rlprompt.lm.adapting import without_mask
from rlprompt.lm.backbone import Backbone
from rlprompt.lm.batching import Limits
from rlprompt.lm.causal_gradients import CausalRows, KeptLeftScorer, causal_forward
from rlprompt.lm.causal_scorers import AfterInputScorer, BeforeInputScorer, PlainScorer
from rlprompt.lm.gradients import RowScorer
from rlprompt.lm.identity import identify
from rlprompt.lm.inputs import Inputs, causal_inputs
from rlprompt.lm.protocol import ChoiceScorer, GradientScorer, Identity, Meter
from rlprompt.lm.tokenizer import HFTokenizer
from rlprompt.tasks.examples import Example
from rlprompt.tasks.template import Template
from rlprompt.tasks.verbalizer import Verbalizer

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)

#: What an architecture may raise when it is handed a packed mask that it cannot take.
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


class CausalLM:
    """Any Hugging Face causal LM. Implements :class:`rlprompt.lm.protocol.FrozenLM`.

    Whether the architecture takes the packed mask is found out by trying: at the first ``bind`` a
    few random tokens are scored packed and plain. Where the two differ, everything is scored the
    plain way and the log says so.
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
            model: a causal LM with its head.
            tokenizer: its tokenizer.
            name: what results call it.
            revision: commit or file, for results.
            limits: how much goes into one forward; None for what suits the device.
        """
        self._backbone = Backbone(model)
        self.model = model
        self._embedding = cast(Any, model.get_input_embeddings())
        self._tokenizer = HFTokenizer(tokenizer, self._embedding.weight.shape[0])
        self._identity = identify(model, tokenizer, name=name, family="causal", revision=revision)
        on_gpu = self._backbone.device.type != "cpu"
        self._limits = limits or (Limits(256, 32_768, 1 << 32) if on_gpu else Limits())
        self._packs: bool | None = None

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
        return int(limit) if limit else None

    def adapt(self, template: Template) -> Template:
        """Takes ``{mask}`` out, see :func:`rlprompt.lm.adapting.without_mask`."""
        return without_mask(template)

    def bind(
        self,
        template: Template,
        verbalizer: Verbalizer,
        examples: Sequence[Example],
        *,
        max_prompt_tokens: int,
    ) -> ChoiceScorer:
        """See :meth:`rlprompt.lm.protocol.FrozenLM.bind`."""
        inputs = self._inputs(template, verbalizer, examples, max_prompt_tokens)
        arguments = (self._backbone, inputs, len(verbalizer), self._limits)
        if not self._can_pack(inputs.longest):
            return PlainScorer(*arguments)
        if template.left_is_constant and not template.right_is_constant:
            return BeforeInputScorer(*arguments)
        if all(inputs.left):
            return AfterInputScorer(*arguments)
        return PlainScorer(*arguments)  # nothing at all stands left of the prompt

    def plain(
        self,
        template: Template,
        verbalizer: Verbalizer,
        examples: Sequence[Example],
        *,
        max_prompt_tokens: int,
    ) -> ChoiceScorer:
        """Like :meth:`bind`, but always the plain path: the yardstick of tests and benchmarks."""
        inputs = self._inputs(template, verbalizer, examples, max_prompt_tokens)
        return PlainScorer(self._backbone, inputs, len(verbalizer), self._limits)

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
        rows = CausalRows(self._inputs(template, verbalizer, examples, room))
        if model is not None:
            return RowScorer(model, rows, len(verbalizer), prompt, causal_forward)
        packs = partial(self._can_pack, rows.inputs.longest)
        if soft_tokens and all(rows.inputs.left):
            return KeptLeftScorer(self.model, rows, len(verbalizer), prompt, packs)
        return RowScorer(self.model, rows, len(verbalizer), prompt, causal_forward, packs)

    def _inputs(
        self,
        template: Template,
        verbalizer: Verbalizer,
        examples: Sequence[Example],
        max_prompt_tokens: int,
    ) -> Inputs:
        return causal_inputs(
            self._tokenizer,
            template,
            verbalizer,
            examples,
            max_prompt_tokens=max_prompt_tokens,
            context=self.context,
        )

    def embeddings(self, ids: Sequence[int]) -> FloatArray:
        """Returns copies of input embedding rows, shape (len(ids), width), float64."""
        weight = self._embedding.weight
        rows = weight[torch.tensor(list(ids), dtype=torch.long, device=weight.device)]
        return np.asarray(rows.double().cpu().numpy())

    def _can_pack(self, longest: int) -> bool:
        if self._packs is None:
            self._packs = self._probe()
        if not self._packs:
            return False
        obstacle = _obstacle(self.model.config, longest)
        if obstacle:
            self._warn(obstacle)
        return not obstacle

    def _warn(self, reason: str) -> None:
        log.warning(
            "%s (%s) cannot score packed prompts (%s): scoring the plain, slower way.",
            self._identity.name,
            type(self.model).__name__,
            reason,
        )

    @torch.inference_mode()
    def _probe(self) -> bool:
        """Scores random tokens packed and plain; True if they agree."""
        generator = np.random.default_rng(0)
        ordinary = [
            i for i in range(self._tokenizer.vocab_size) if i not in self._tokenizer.special_ids
        ]
        ids = [int(i) for i in generator.choice(ordinary, size=24)]
        words = ((ids[20],), (ids[21], ids[22]))
        inputs = Inputs(
            sides=((tuple(ids[:5]), ()), (tuple(ids[5:8]), ())),
            words=words,
            word_label=(0, 1),
            truncated=0,
            longest=16,
        )
        prompts = [Prompt(tuple(ids[8:12])), Prompt(tuple(ids[12:14])), Prompt()]
        tolerance = 1e-3 if self.model.dtype in (torch.float32, torch.float64) else 0.2
        plain = PlainScorer(self._backbone, inputs, 2, self._limits).choice_logprobs(prompts)
        try:
            packed = AfterInputScorer(self._backbone, inputs, 2, self._limits)
            difference = float(np.abs(packed.choice_logprobs(prompts) - plain).max())
            reason = f"packed and plain scores differ by {difference:.2g}"
        except _REFUSALS as error:
            difference = float("inf")
            reason = f"{type(error).__name__}: {error}"
        if difference <= tolerance:
            return True
        self._warn(reason)
        return False


def _obstacle(config: "PreTrainedConfig", longest: int) -> str:
    """Returns what keeps inputs of up to ``longest`` tokens from being packed, else ''.

    The probe is too short to meet a window.
    """
    if "local" in getattr(config, "attention_layers", ()):
        return "its local attention counts by place in the row, not by position"
    if getattr(config, "use_sliding_window", True) is False:
        return ""
    for name in ("sliding_window", "attention_chunk_size"):
        window = getattr(config, name, None)
        if isinstance(window, int) and longest > window:
            return f"it attends within a window of {window} tokens, inputs have up to {longest}"
    return ""
