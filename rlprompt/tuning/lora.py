"""LoRA: small matrices beside the LM's own (Hu et al. 2021), with a text prompt in the template.

LoRA: Low-Rank Adaptation of Large Language Models, arXiv:2106.09685
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from rlprompt.core.errors import ConfigError
from rlprompt.core.events import OnEvent
from rlprompt.tuning.adapters import save_adapter, sharing_copy, with_adapter
from rlprompt.tuning.gradient import GradientTuner
from rlprompt.tuning.protocol import Problem, Traits, check_family
from rlprompt.tuning.text import check_text, slot_text
from rlprompt.tuning.tuned_model import ChangedModel, TunedModel

TARGETS = ("attention", "all-linear")


@dataclass(frozen=True)
class LoRA(GradientTuner):
    """Trains low-rank matrices by gradient. A :class:`~rlprompt.tuning.protocol.Tuner`.

    Attributes:
        rank: of each matrix.
        alpha: times ``1 / rank``, what the matrices are multiplied by.
        targets: beside which of the LM's own: 'attention', the projections of attention that peft
            names for the architecture (those of the paper, query and value, in most); 'all-linear',
            all but the output head.
        text: the prompt; '' for whichever of the task's manual prompts is likeliest on dev.
    """

    name: ClassVar[str] = "lora"

    # More than the paper's 2e-4, for a training of 60 updates instead of thousands.
    learning_rates: tuple[float, ...] = (3e-4, 1e-3)
    rank: int = 8
    alpha: int = 16
    targets: str = "attention"
    text: str = ""

    def __post_init__(self) -> None:
        """Refuses settings that cannot be meant.

        Raises:
            ConfigError: with what to write instead.
        """
        super().__post_init__()
        check_text(self.text)
        for name in ("rank", "alpha"):
            if type(value := getattr(self, name)) is not int or value < 1:
                raise ConfigError(f"{name} must be a whole number of 1 or more, not {value!r}.")
        if self.targets not in TARGETS:
            raise ConfigError(f"targets must be {' or '.join(TARGETS)}, not {self.targets!r}.")

    @property
    def traits(self) -> Traits:
        """What sets it apart."""
        return Traits(True, False, False, ("causal", "masked", "seq2seq"), True)

    def tune(
        self, problem: Problem, *, seed: int, on_event: OnEvent, work: Path | None
    ) -> TunedModel:
        """See :meth:`rlprompt.tuning.protocol.Tuner.tune`."""
        check_family(self.name, self.traits, problem.lm)
        adapter = with_adapter(
            self.name,
            problem,
            # peft puts its modules in the place of the model's own.
            sharing_copy(problem.lm.model),
            "LoraConfig",
            seed,
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=0.0,
            target_modules="all-linear" if self.targets == "all-linear" else None,
        )
        template = self.template_of(problem)
        prompt = slot_text(problem, template, self.text)
        changed = ChangedModel(template, prompt, adapter.get_base_model())
        history = self.train(problem, changed, seed=seed, on_event=on_event, work=work, large=True)
        return TunedModel(problem, changed, partial(save_adapter, adapter), history)
