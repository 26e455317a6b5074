"""Fine-tuning: every parameter of a copy of the LM, with a text prompt in the template.

With a prompt and the label words of a verbalizer, as in Schick and Schuetze 2021 (Exploiting Cloze
Questions for Few Shot Text Classification, arXiv:2001.07676) and Gao et al. 2021 (Making
Pre-trained Language Models Better Few-shot Learners, arXiv:2012.15723), whose learning rates for 16
examples a label these are (but the largest, 5e-5).
"""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rlprompt.core.events import OnEvent
from rlprompt.tuning.gradient import GradientTuner
from rlprompt.tuning.protocol import Problem, Traits, check_family
from rlprompt.tuning.text import check_text, slot_text
from rlprompt.tuning.tuned_model import ChangedModel, TunedModel


@dataclass(frozen=True)
class FineTune(GradientTuner):
    """Trains all parameters of a copy of the model. A :class:`~rlprompt.tuning.protocol.Tuner`.

    Memory and each checkpoint hold four copies in float32: now, best and two of AdamW's; with
    ``optimizer = "adafactor"`` half of that.

    Attributes:
        text: the prompt; '' for whichever of the task's manual prompts is likeliest on dev.
    """

    name: ClassVar[str] = "fine-tune"

    learning_rates: tuple[float, ...] = (1e-5, 2e-5)
    text: str = ""

    def __post_init__(self) -> None:
        """Refuses settings that cannot be meant.

        Raises:
            ConfigError: with what to write instead.
        """
        super().__post_init__()
        check_text(self.text)

    @property
    def traits(self) -> Traits:
        """What sets it apart."""
        return Traits(True, False, False, ("causal", "masked", "seq2seq"), True)

    def tune(
        self, problem: Problem, *, seed: int, on_event: OnEvent, work: Path | None
    ) -> TunedModel:
        """See :meth:`rlprompt.tuning.protocol.Tuner.tune`."""
        check_family(self.name, self.traits, problem.lm)
        template = self.template_of(problem)
        prompt = slot_text(problem, template, self.text)
        model: Any = copy.deepcopy(problem.lm.model)
        # In half precision, updates this small would be rounded away.
        model.float().requires_grad_(True)
        start = dict(problem.lm.model.named_parameters())
        changed = ChangedModel(template, prompt, model, start=start)
        history = self.train(problem, changed, seed=seed, on_event=on_event, work=work, large=True)
        return TunedModel(problem, changed, model.save_pretrained, history)
