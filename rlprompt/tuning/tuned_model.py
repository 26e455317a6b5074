"""A model that was changed, with a text prompt in the template: what three tuners train."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rlprompt.core.errors import RunError
from rlprompt.core.evaluation import FloatArray
from rlprompt.core.files import write_json
from rlprompt.core.prompt import Prompt
from rlprompt.lm.loading import quiet
from rlprompt.tasks.examples import Example
from rlprompt.tasks.template import Template
from rlprompt.tasks.tokenization import prompt_text
from rlprompt.tuning.protocol import Problem, facts_of
from rlprompt.tuning.trainable import bind, scores

#: What was trained for what, beside the weights.
FACTS = "prompt.json"


class ChangedModel:
    """A model with parameters to train. Implements :class:`rlprompt.tuning.trainable.Trainable`."""

    def __init__(
        self,
        template: Template,
        prompt: Prompt,
        model: torch.nn.Module,
        *,
        start: Mapping[str, torch.Tensor] | None = None,
        takes: int = 0,
    ) -> None:
        """Trains the parameters that require a gradient.

        Args:
            template: where input, prompt and answer stand.
            prompt: the text prompt.
            model: what was made of the LM's model.
            start: what the parameters are before training, where it is kept already; None to copy.
            takes: positions of the context that the model takes for itself.
        """
        self.template, self.prompt, self.takes = template, prompt, takes
        self.model: torch.nn.Module | None = model.eval()
        self._parameters = {n: each for n, each in model.named_parameters() if each.requires_grad}
        self.start: Mapping[str, torch.Tensor] = start or {
            name: each.detach().clone() for name, each in self._parameters.items()
        }

    def parameters(self) -> Mapping[str, torch.nn.Parameter]:
        """All that require a gradient."""
        return self._parameters

    def soft(self) -> torch.Tensor | None:
        """None: the prompt is text."""
        return None


@dataclass(frozen=True, eq=False)
class TunedModel:
    """A trained model with its prompt. Implements :class:`rlprompt.tuning.protocol.Tuned`.

    Attributes:
        problem: what it was trained on.
        trained: model and prompt.
        saved: what writes the weights: an adapter, or the model itself.
        history: a row for each look at dev.
    """

    problem: Problem
    trained: ChangedModel
    saved: Any
    history: Sequence[Mapping[str, Any]]

    @property
    def n_parameters(self) -> int:
        """How many numbers were trained."""
        return sum(each.numel() for each in self.trained.parameters().values())

    def choice_logprobs(self, examples: Sequence[Example]) -> FloatArray:
        """See :meth:`rlprompt.tuning.protocol.Tuned.choice_logprobs`."""
        return scores(self.trained, bind(self.problem, self.trained, examples))

    def save(self, folder: Path) -> None:
        """Writes the weights as their own library does, and what they were trained for.

        Raises:
            RunError: the folder cannot be written.
        """
        template, prompt = self.trained.template, self.trained.prompt
        text = prompt_text(self.problem.lm.tokenizer, template, prompt)
        facts = {"prompt": text, **facts_of(self.problem, template)}
        try:
            with quiet():
                self.saved(folder)
        except OSError as error:
            raise RunError(f"Cannot write {folder}: {error.strerror or error}.") from error
        write_json(folder / FACTS, facts)
