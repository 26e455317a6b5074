"""What a frozen LM is to the rest of the program.

Two small protocols for whoever scores prompts, and two for whoever trains something. A model family
is a class that implements :class:`FrozenLM`; whoever writes one, or a client of a remote LM, needs
nothing else of this package::

    scorer = lm.bind(template, verbalizer, examples)      # once a split
    scores = scorer.choice_logprobs([prompt_a, prompt_b])  # (2, n_examples, n_labels)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from rlprompt.core.evaluation import FloatArray
from rlprompt.core.prompt import Prompt
from rlprompt.tasks.examples import Example
from rlprompt.tasks.template import Template
from rlprompt.tasks.tokenization import Tokenizer
from rlprompt.tasks.verbalizer import Verbalizer

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


@dataclass
class Meter:
    """What went through the LM since it was loaded.

    Attributes:
        tokens: tokens scored, neither padding nor cached left sides counted.
        cached_tokens: tokens whose keys and values were computed to be shared by many prompts.
        saved_tokens: tokens that would have been scored too, had prompts of one call not shared
            what they begin with.
        seconds: wall seconds inside forwards.
    """

    tokens: int = 0
    cached_tokens: int = 0
    saved_tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Identity:
    """Which LM gave the scores; equal identities give equal scores.

    Attributes:
        name: hub id, folder name or alias as the user gave it.
        family: 'causal', 'masked' or 'seq2seq'.
        revision: commit or file name, where there is one.
        dtype: torch name of the weights' dtype, e.g. 'float32'.
        weights: hash of a sample of every weight tensor.
        tokenizer: hash of the tokenizer's vocabulary and settings.
    """

    name: str
    family: str
    revision: str
    dtype: str
    weights: str
    tokenizer: str

    @property
    def fingerprint(self) -> str:
        """One string for cache keys: everything but the name, which may be an alias."""
        return "-".join((self.family, self.dtype, self.weights, self.tokenizer))


class ChoiceScorer(Protocol):
    """An LM bound to one template, one verbalizer and the examples of one split."""

    @property
    def n_examples(self) -> int:
        """Number of examples."""

    @property
    def truncated(self) -> int:
        """How many examples' text was cut so that prompt and answer fit the context."""

    @property
    def prefixes_are_free(self) -> bool:
        """Whether the scores of all prefixes of a prompt come with the prompt's own forward."""

    def choice_logprobs(self, prompts: Sequence[Prompt]) -> FloatArray:
        """Scores prompts of any lengths, the empty one included.

        Returns:
            Log-probability of each label, normalised over the labels, shape
            (n_prompts, n_examples, n_labels), on the CPU.
        """

    def prefix_logprobs(self, prompts: Sequence[Prompt]) -> list[FloatArray]:
        """Scores every non-empty prefix of each prompt in the prompts' own forwards.

        Only where :attr:`prefixes_are_free`.

        Returns:
            For each prompt an array of shape (len(prompt), n_examples, n_labels); the last row is
            what :meth:`choice_logprobs` gives.
        """


@runtime_checkable
class NextToken(Protocol):
    """A scorer that also says how the LM itself would go on with a prompt. Not every scorer can."""

    def next_token_logprobs(
        self, rows: Sequence[int], prompts: Sequence[Prompt], ids: Sequence[int]
    ) -> FloatArray:
        """Predicts the next token of unfinished prompts, one LM forward each.

        Args:
            rows: for each prompt the index of the example that stands left of it.
            prompts: the unfinished prompts, the empty one included.
            ids: token ids to choose from.

        Returns:
            Log-probabilities of ``ids``, normalised among them, shape (len(prompts), len(ids)).
        """


@runtime_checkable
class ReadsPrompts(Protocol):
    """A scorer that also says how likely a prompt is as text. Not every scorer can."""

    def prompt_logprobs(self, rows: Sequence[int], prompts: Sequence[Prompt]) -> list[FloatArray]:
        """Reads prompts where they stand, one LM forward each.

        Args:
            rows: for each prompt the index of the example that stands left of it.
            prompts: the prompts.

        Returns:
            For each prompt the log-probability of each of its tokens given everything left of it,
            over the LM's whole vocabulary, shape (len(prompt),).
        """


@runtime_checkable
class AdaptsTemplates(Protocol):
    """An LM that can say how a template for LMs of another family is written for it.

    Asked where a prompt is moved to another LM, and nowhere else: a search refuses a template that
    does not suit its LM. Not every LM needs this; one without takes every template as it is.
    """

    def adapt(self, template: Template) -> Template:
        """Returns the template as this LM needs it; unchanged where it suits.

        Raises:
            TemplateError: it cannot be written for this LM; says what to write instead.
        """


class FrozenLM(Protocol):
    """A language model whose parameters never change."""

    @property
    def identity(self) -> Identity:
        """Which LM this is."""

    @property
    def tokenizer(self) -> Tokenizer:
        """The LM's own tokenizer."""

    @property
    def meter(self) -> Meter:
        """Running count of tokens and seconds of all forwards of this LM."""

    def bind(
        self,
        template: Template,
        verbalizer: Verbalizer,
        examples: Sequence[Example],
        *,
        max_prompt_tokens: int,
    ) -> ChoiceScorer:
        """Prepares to score prompts of up to ``max_prompt_tokens`` on the examples.

        Over-long text is cut, never the prompt or the answer.

        Raises:
            TemplateError: the template or a label word does not suit this LM.
            ConfigError: prompt and answer would not fit the context even with the text cut away.
        """

    def embeddings(self, ids: Sequence[int]) -> FloatArray:
        """Returns copies of input embedding rows, shape (len(ids), width)."""


class GradientScorer(Protocol):
    """An LM bound to one template, one verbalizer and the examples of one split."""

    @property
    def n_examples(self) -> int:
        """Number of examples."""

    @property
    def truncated(self) -> int:
        """How many examples' text was cut so that prompt and answer fit the context."""

    @property
    def lengths(self) -> Sequence[int]:
        """Tokens that each example takes without a prompt: alike ones make good batches."""

    def choice_logprobs(
        self, examples: Sequence[int], soft: "torch.Tensor | None" = None
    ) -> "torch.Tensor":
        """Scores some examples in one forward.

        Args:
            examples: their indices.
            soft: embeddings that stand where the template's prompt does, shape (length, width);
                None for the text prompt that the scorer was bound with.

        Returns:
            Log-probability of each label, normalised over the labels, shape
            (len(examples), n_labels), float32, on the model's device.
        """


@runtime_checkable
class GradientLM(Protocol):
    """An LM that a trainer can work with. All parameters are frozen until the trainer says so."""

    @property
    def model(self) -> "PreTrainedModel":
        """The model itself."""

    def bind_gradients(
        self,
        template: Template,
        verbalizer: Verbalizer,
        examples: Sequence[Example],
        *,
        prompt: Prompt,
        soft_tokens: int,
        model: "torch.nn.Module | None",
    ) -> GradientScorer:
        """Prepares to score examples.

        Args:
            template: where the input, the prompt and the answer stand.
            verbalizer: words of each label.
            examples: the examples.
            prompt: tokens in the place of the prompt where no soft prompt is given.
            soft_tokens: most rows that a soft prompt will have.
            model: in place of the LM's own model, what was made of it: with an adapter, or with
                parameters that are trained. None says that nothing but a soft prompt changes, so
                that what does not depend on it may be kept.

        Raises:
            TemplateError: the template or a label word does not suit this LM.
            ConfigError: prompt and answer would not fit the context even with the text cut away.
        """
