"""P-tuning: a soft prompt that a small network computes (Liu et al. 2021).

    GPT Understands, Too, arXiv:2103.10385

The network ties the rows to one another, which makes them easier to train. After training only the
rows are needed. They stand where the template's prompt stands.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from rlprompt.core.errors import ConfigError
from rlprompt.core.events import OnEvent
from rlprompt.core.prompt import Prompt
from rlprompt.tasks.template import Template
from rlprompt.tuning.adapters import peft_for, seeded
from rlprompt.tuning.gradient import GradientTuner
from rlprompt.tuning.protocol import Problem, Traits, check_family
from rlprompt.tuning.rows import SoftRows, TunedSoftPrompt

ENCODERS = ("mlp", "lstm")


class EncodedRows:
    """A soft prompt from an encoder. Implements :class:`rlprompt.tuning.trainable.Trainable`."""

    model: torch.nn.Module | None = None
    prompt = Prompt()
    takes = 0

    def __init__(self, template: Template, encoder: Any, length: int) -> None:
        """Trains all of the encoder."""
        self.template, self._encoder = template, encoder
        self._indices = torch.arange(length, device=encoder.embedding.weight.device)[None]
        self._parameters: Mapping[str, torch.nn.Parameter] = dict(encoder.named_parameters())
        self.start: Mapping[str, torch.Tensor] = {
            name: each.detach().clone() for name, each in self._parameters.items()
        }

    def parameters(self) -> Mapping[str, torch.nn.Parameter]:
        """Those of the encoder."""
        return self._parameters

    def soft(self) -> torch.Tensor:
        """What the encoder makes of the indices of the rows, shape (length, width)."""
        rows: torch.Tensor = self._encoder(self._indices)[0]
        return rows


@dataclass(frozen=True)
class PTuning(GradientTuner):
    """Trains the encoder of a soft prompt. A :class:`~rlprompt.tuning.protocol.Tuner`.

    Attributes:
        length: rows of the prompt.
        encoder: 'mlp', three linear layers, or 'lstm', the paper's bidirectional LSTM and two
            linear layers.
    """

    name: ClassVar[str] = "p-tuning"

    # The network has more and deeper numbers than a soft prompt of its own, which take less.
    learning_rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3)
    length: int = 5
    encoder: str = "mlp"

    def __post_init__(self) -> None:
        """Refuses settings that cannot be meant.

        Raises:
            ConfigError: with what to write instead.
        """
        super().__post_init__()
        if type(self.length) is not int or self.length < 1:
            raise ConfigError(f"length must be 1 or more rows, not {self.length!r}.")
        if self.encoder not in ENCODERS:
            raise ConfigError(f"encoder must be {' or '.join(ENCODERS)}, not {self.encoder!r}.")

    @property
    def traits(self) -> Traits:
        """What sets it apart."""
        return Traits(True, False, False, ("causal", "masked", "seq2seq"))

    def tune(
        self, problem: Problem, *, seed: int, on_event: OnEvent, work: Path | None
    ) -> TunedSoftPrompt:
        """See :meth:`rlprompt.tuning.protocol.Tuner.tune`."""
        check_family(self.name, self.traits, problem.lm)
        peft, template = peft_for(self.name), self.template_of(problem)
        width = problem.lm.embeddings([0]).shape[1]
        with seeded(seed):
            encoder = peft.PromptEncoder(
                peft.PromptEncoderConfig(
                    num_virtual_tokens=self.length,
                    num_transformer_submodules=1,
                    token_dim=width,
                    encoder_hidden_size=width,
                    encoder_reparameterization_type=self.encoder.upper(),
                )
            )
        encoder.to(next(problem.lm.model.parameters()).device)
        encoded = EncodedRows(template, encoder, self.length)
        start = encoded.soft().detach()
        history = self.train(problem, encoded, seed=seed, on_event=on_event, work=work, large=True)
        rows = SoftRows(template, encoded.soft())
        trained = sum(each.numel() for each in encoded.parameters().values())
        return TunedSoftPrompt(problem, rows, start, history, trained)
