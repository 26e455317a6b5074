"""What a trainer needs of an LM: label scores that can be differentiated.

A search scores prompts with :class:`rlprompt.lm.protocol.ChoiceScorer`, many at a time and without
gradients. A trainer has one prompt, or none, and changes numbers: rows in the place of the prompt
(a soft prompt), or parameters of the model itself.
"""

from __future__ import annotations  # names of tuners are listed without torch

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

from rlprompt.core.prompt import Prompt
from rlprompt.tasks.examples import Example
from rlprompt.tasks.template import Template
from rlprompt.tasks.verbalizer import Verbalizer

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

Words = Sequence[tuple[int, ...]]


class GradientScorer(Protocol):
    """An LM bound to one template, one verbalizer and the examples of one split."""

    @property
    def n_examples(self) -> int:
        """Number of examples."""

    @property
    def truncated(self) -> int:
        """How many examples' text was cut so that prompt and answer fit the context."""

    def choice_logprobs(
        self, examples: Sequence[int], soft: torch.Tensor | None = None
    ) -> torch.Tensor:
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
    def model(self) -> PreTrainedModel:
        """The model itself."""

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


@dataclass(frozen=True)
class Slot:
    """Rows of token ids with a gap that is filled with embeddings.

    Attributes:
        ids: right-padded ids, anything in gap and padding, shape (rows, length).
        lengths: true lengths, shape (rows,).
        start: where the gap begins, shape (rows,).
    """

    ids: torch.Tensor
    lengths: torch.Tensor
    start: torch.Tensor

    @classmethod
    def of(
        cls,
        sides: Sequence[tuple[Sequence[int], Sequence[int]]],
        gap: int,
        device: torch.device,
        pad: int = 0,
    ) -> Slot:
        """Lays out rows of what stands left and right of a gap of ``gap`` tokens."""
        import torch

        rows = [(*left, *(pad,) * gap, *right) for left, right in sides]
        lengths = [len(row) for row in rows]
        longest = max(lengths)
        padded = [[*row, *(pad,) * (longest - len(row))] for row in rows]
        starts = [len(left) for left, _ in sides]

        def tensor(values: Any) -> torch.Tensor:
            return torch.tensor(values, dtype=torch.long, device=device)

        return cls(tensor(padded), tensor(lengths), tensor(starts))

    @property
    def attention_mask(self) -> torch.Tensor:
        """1 where a token stands and 0 where padding does, shape (rows, length)."""
        import torch

        steps = torch.arange(self.ids.shape[1], device=self.ids.device)
        return (steps[None] < self.lengths[:, None]).long()

    def embedded(self, model: torch.nn.Module, soft: torch.Tensor | None) -> torch.Tensor:
        """Returns input embeddings with ``soft`` (gap, width) in the gap: (rows, length, width)."""
        import torch

        table = cast(Any, model).get_input_embeddings()
        found: torch.Tensor = table(self.ids)
        if soft is None or not len(soft):
            return found
        places = self.start[:, None] + torch.arange(len(soft), device=found.device)
        index = places[:, :, None].expand(-1, -1, found.shape[-1])
        return found.scatter(1, index, soft.to(found.dtype).expand(len(self.ids), -1, -1))


def label_scores(words: torch.Tensor, word_label: Sequence[int], n_labels: int) -> torch.Tensor:
    """Sums word probabilities a label and normalises over the labels.

    Args:
        words: word log-probabilities up to a shared constant, shape (rows, n_words).
        word_label: label index of each word.
        n_labels: number of labels.

    Returns:
        Log-probabilities, shape (rows, n_labels), float32.
    """
    import torch

    labels = torch.as_tensor(word_label, device=words.device)
    columns = [words[:, labels == n].logsumexp(dim=-1) for n in range(n_labels)]
    return torch.stack(columns, dim=-1).log_softmax(dim=-1)


def stems_of(words: Words) -> dict[tuple[int, ...], list[int]]:
    """Groups words by what must be read to predict their last token.

    Returns:
        For each stem the indices of the words that it predicts: those of which it is, or begins
        with, all tokens but the last. A stem that begins another is not there.
    """
    needed = {word[:-1] for word in words}
    stems = sorted(s for s in needed if not any(o != s and o[: len(s)] == s for o in needed))
    found: dict[tuple[int, ...], list[int]] = {stem: [] for stem in stems}
    for n, word in enumerate(words):
        found[next(s for s in stems if s[: len(word) - 1] == word[:-1])].append(n)
    return found
