"""A T5- or BART-style frozen LM: the encoder reads the text, the decoder says the label word."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from rlprompt.core.errors import LMError
from rlprompt.core.evaluation import FloatArray
from rlprompt.core.prompt import Prompt
from rlprompt.lm.batching import Limits
from rlprompt.lm.gradients import RowScorer
from rlprompt.lm.identity import identify
from rlprompt.lm.packed import label_logprobs
from rlprompt.lm.protocol import ChoiceScorer, GradientScorer, Identity, Meter
from rlprompt.lm.seq2seq_backbone import Seq2SeqBackbone
from rlprompt.lm.seq2seq_gradients import Seq2SeqRows, seq2seq_forward
from rlprompt.lm.seq2seq_inputs import Format, MaskToken, Row, Seq2SeqInputs
from rlprompt.lm.seq2seq_scorer import OwnLogits, Seq2SeqScorer, SharedEncoder, WordScorer
from rlprompt.lm.tokenizer import HFTokenizer
from rlprompt.tasks.examples import Example
from rlprompt.tasks.template import Template
from rlprompt.tasks.verbalizer import Verbalizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)

SENTINEL = "<extra_id_0>"
#: What an architecture may raise when its decoder is called by itself.
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


class Seq2SeqLM:
    """A Hugging Face encoder-decoder LM. Implements :class:`rlprompt.lm.protocol.FrozenLM`.

    The encoder reads the whole rendered text, prompt included, as the tokenizer gives it. What the
    decoder reads before the label word follows the LM's own training:

    * Without ``{mask}`` it reads its start tokens alone, and the label word begins its answer: the
      supervised tasks of T5 (Raffel et al. 2020, arXiv:1910.10683) and prompt tuning (Lester et al.
      2021, arXiv:2104.08691). No space stands before such a word.
    * With ``{mask}`` and a tokenizer with sentinels, as in T5's span corruption: ``<extra_id_0>``
      stands in the encoder's text, and the decoder reads its start token and ``<extra_id_0>``.
    * With ``{mask}`` and a mask token (BART, Lewis et al. 2020, arXiv:1910.13461): the mask token
      stands in the encoder's text. BART learned to write the whole text anew, so the decoder reads
      its start tokens and the text left of the mask. What stands right of the mask is seen by the
      encoder alone.

    Words of several tokens have the sum of their tokens' log-probabilities, each given those before
    it. Text, not ids, is what is scored: a prompt whose ids no text encodes to is scored as what
    its text encodes to.

    Whether the architecture can be run in two halves is found out by trying, at the first ``bind``.
    Where it cannot, everything is scored the plain way and the log says so.
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
            model: an encoder-decoder LM with its head.
            tokenizer: its tokenizer.
            name: what results call it.
            revision: commit or file, for results.
            limits: how much goes into one forward; None for what suits the device.

        Raises:
            LMError: the model is no encoder-decoder, or does not say how its decoder starts.
        """
        if not model.config.is_encoder_decoder:
            raise LMError(
                f"{name!r} ({type(model).__name__}) is no encoder-decoder LM: use CausalLM for one "
                "that goes on with a text."
            )
        self._backbone = Seq2SeqBackbone(model)
        self.model = model
        self._embedding = cast(Any, model.get_input_embeddings())
        self._tokenizer = HFTokenizer(tokenizer, self._embedding.weight.shape[0], prose=True)
        self._identity = identify(model, tokenizer, name=name, family="seq2seq", revision=revision)
        self._format = Format(
            tokenizer=self._tokenizer,
            start=self._tokenizer.start_ids,
            end=self._tokenizer.end_ids,
            decoder_start=_decoder_start(model, self._tokenizer, name),
            mask=_mask_token(self._tokenizer),
            context=_context(model, tokenizer),
        )
        on_gpu = self._backbone.device.type != "cpu"
        self._limits = limits or (Limits(batch_tokens=32_768) if on_gpu else Limits())
        self._halves: bool | None = None

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
        """Running count of tokens, the decoder's included, and seconds of all forwards."""
        return self._backbone.meter

    @property
    def context(self) -> int | None:
        """Most tokens that encoder or decoder reads; None where nothing sets a limit."""
        return self._format.context

    def adapt(self, template: Template) -> Template:
        """Returns the template as it is: the decoder answers with and without ``{mask}``."""
        return template

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
        if self._halves is None:
            self._halves = self._probe()
        kind = SharedEncoder if self._halves else OwnLogits
        return self._scorer(inputs, len(verbalizer), kind(self._backbone, inputs.words))

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
        return self._scorer(inputs, len(verbalizer), OwnLogits(self._backbone, inputs.words))

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
        rows = Seq2SeqRows(self._inputs(template, verbalizer, examples, room))
        return RowScorer(model or self.model, rows, len(verbalizer), prompt, seq2seq_forward)

    def embeddings(self, ids: Sequence[int]) -> FloatArray:
        """Returns copies of input embedding rows, shape (len(ids), width), float64."""
        weight = self._embedding.weight
        rows = weight[torch.tensor(list(ids), dtype=torch.long, device=weight.device)]
        return np.asarray(rows.double().cpu().numpy())

    def _inputs(
        self,
        template: Template,
        verbalizer: Verbalizer,
        examples: Sequence[Example],
        max_prompt_tokens: int,
    ) -> Seq2SeqInputs:
        return Seq2SeqInputs(
            self._format, template, verbalizer, examples, max_prompt_tokens=max_prompt_tokens
        )

    def _scorer(self, inputs: Seq2SeqInputs, n_labels: int, words: WordScorer) -> Seq2SeqScorer:
        return Seq2SeqScorer(self._backbone, inputs, n_labels, self._limits, words)

    @torch.inference_mode()
    def _probe(self) -> bool:
        """Scores random tokens in both ways; True if they agree.

        Whether the head reads scaled states differs from version to version of one architecture, so
        that is found out here too.
        """
        backbone = self._backbone
        generator = np.random.default_rng(0)
        ordinary = sorted(set(range(self._tokenizer.vocab_size)) - self._tokenizer.special_ids)
        ids = tuple(int(i) for i in generator.choice(ordinary, size=16))
        start = self._format.decoder_start
        rows = [Row(ids[:7], start), Row(ids[7:10], (*start, ids[10]))]
        words = ((ids[11],), (ids[12], ids[13]), (ids[14], ids[15]))

        def scores(way: WordScorer) -> FloatArray:
            return label_logprobs(way.score(rows), range(len(words)), len(words))

        expected = scores(OwnLogits(backbone, words))
        gaps: dict[float, float] = {}
        try:
            for scale in (1.0, backbone.width**-0.5):
                backbone.scale = scale
                found = scores(SharedEncoder(backbone, words))
                gaps[scale] = float(np.abs(found - expected).max())
            backbone.scale = min(gaps, key=lambda scale: gaps[scale])
            gap = gaps[backbone.scale]
            reason = f"scores differ by {gap:.2g}"
        except _REFUSALS as error:
            gap = float("inf")
            reason = f"{type(error).__name__}: {error}"
        tolerance = 1e-3 if self.model.dtype in (torch.float32, torch.float64) else 0.2
        if gap <= tolerance:
            return True
        log.warning(
            "%s (%s) cannot share its encoder among labels (%s): scoring the plain, slower way.",
            self._identity.name,
            type(self.model).__name__,
            reason,
        )
        return False


def _decoder_start(model: "PreTrainedModel", tokenizer: HFTokenizer, name: str) -> tuple[int, ...]:
    """Returns the ids that every target text begins with.

    The decoder's start token, then what the tokenizer puts before any text (BART's ``<s>``), unless
    the model says what comes first (the language code of multilingual models).
    """
    start = _setting(model, "decoder_start_token_id")
    if start is None:
        raise LMError(
            f"{name!r} does not say how its decoder starts: set decoder_start_token_id in its "
            "config.json."
        )
    forced = _setting(model, "forced_bos_token_id")
    return (start, *(tokenizer.start_ids if forced is None else (forced,)))


def _setting(model: "PreTrainedModel", name: str) -> int | None:
    """Reads a setting that is in the configuration of the model or in that of generation."""
    for config in (model.config, getattr(model, "generation_config", None)):
        value = getattr(config, name, None)
        if isinstance(value, int):
            return value
    return None


def _mask_token(tokenizer: HFTokenizer) -> MaskToken | None:
    """Returns what stands for ``{mask}``: the first sentinel, else the mask token, else None."""
    hf = tokenizer.hf
    sentinel = cast(Any, hf).convert_tokens_to_ids(SENTINEL)
    is_sentinel = sentinel in tokenizer.special_ids and sentinel != hf.unk_token_id
    found = sentinel if is_sentinel else hf.mask_token_id
    if found is None:
        return None
    token = hf.added_tokens_decoder.get(found)
    return MaskToken(
        found,
        is_sentinel,
        takes_left_space=token is not None and token.lstrip,
        takes_right_space=token is not None and token.rstrip,
    )


def _context(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> int | None:
    """Returns the least limit that model and tokenizer name.

    T5's positions are relative, so the model itself takes any length; its tokenizer says 512, which
    it was trained with.
    """
    names = ("max_position_embeddings", "max_source_positions", "n_positions")
    limits = [getattr(model.config, name, None) for name in names] + [tokenizer.model_max_length]
    # Where nothing is known, a tokenizer's limit is a number with 30 digits.
    known = [int(limit) for limit in limits if limit and limit < 1e9]
    return min(known, default=None)
