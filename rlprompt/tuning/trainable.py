"""Numbers that are trained, and how the LM is asked with them."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch

from rlprompt.core.evaluation import FloatArray
from rlprompt.core.prompt import Prompt
from rlprompt.lm.protocol import GradientScorer
from rlprompt.tasks.examples import Example
from rlprompt.tasks.template import Template
from rlprompt.tuning.protocol import Problem


class Trainable(Protocol):
    """Numbers that are trained, and what the LM is asked with them."""

    @property
    def template(self) -> Template:
        """Where input, prompt and answer stand."""

    @property
    def prompt(self) -> Prompt:
        """Tokens in the place of the prompt where no soft prompt is."""

    @property
    def model(self) -> torch.nn.Module | None:
        """What was made of the LM's model; None if it is left as it is."""

    @property
    def takes(self) -> int:
        """Positions of the LM's context that the model itself takes beside what it is given."""

    @property
    def start(self) -> Mapping[str, torch.Tensor]:
        """What the parameters are before training, by name."""

    def parameters(self) -> Mapping[str, torch.nn.Parameter]:
        """All that is trained, by name."""

    def soft(self) -> torch.Tensor | None:
        """The soft prompt that the parameters stand for, shape (length, width); None for none."""


class TextPrompt:
    """A text prompt that nothing is trained of. Implements :class:`Trainable`."""

    model: torch.nn.Module | None = None
    takes = 0

    def __init__(self, template: Template, prompt: Prompt) -> None:
        """Keeps what it is given."""
        self.template, self.prompt = template, prompt
        self.start: Mapping[str, torch.Tensor] = {}

    def parameters(self) -> Mapping[str, torch.nn.Parameter]:
        """None."""
        return {}

    def soft(self) -> torch.Tensor | None:
        """None."""
        return None


def bind(problem: Problem, trained: Trainable, examples: Sequence[Example]) -> GradientScorer:
    """Binds examples to the LM as a trainable asks for them."""
    soft = trained.soft()
    # Room that the model itself takes is kept free as rows of a soft prompt would be.
    taken = trained.takes and trained.takes + len(trained.prompt)
    return problem.lm.bind_gradients(
        trained.template,
        problem.task.verbalizer,
        examples,
        prompt=trained.prompt,
        soft_tokens=taken if soft is None else len(soft),
        model=trained.model,
    )


@torch.no_grad()
def scores(trained: Trainable, scorer: GradientScorer, block: int = 16) -> FloatArray:
    """Scores all examples of a scorer without a gradient: shape (n_examples, n_labels)."""
    soft = trained.soft()
    order = np.argsort(scorer.lengths, kind="stable")
    blocks = [order[n : n + block].tolist() for n in range(0, len(order), block)]
    found = [scorer.choice_logprobs(each, soft).double().cpu().numpy() for each in blocks]
    return np.concatenate(found)[np.argsort(order)]
