"""Soft prompts: embeddings that stand where a text prompt would (Lester et al. 2021, sec. 2).

    The Power of Scale for Parameter-Efficient Prompt Tuning, arXiv:2104.08691

The LM is frozen; the trained numbers are the ``length x width`` of the prompt alone.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rlprompt.core.events import OnEvent
from rlprompt.tuning.gradient import GradientTuner
from rlprompt.tuning.protocol import Problem, Traits, check_family
from rlprompt.tuning.rows import SoftRows, TunedSoftPrompt, check_rows, start_rows


@dataclass(frozen=True)
class SoftPrompt(GradientTuner):
    """Trains a soft prompt by gradient descent. A :class:`~rlprompt.tuning.protocol.Tuner`.

    Attributes:
        length: rows of the prompt; 0 for as many as the init text has tokens, 5 where there is
            none.
        init: what the rows begin as: 'text', embeddings of a text, repeated where the length is
            more and its end where it is less; 'prompt', those of a learned prompt; 'vocab', those
            of sampled frequent words; 'labels', those of the label words, then of sampled words;
            'random', uniform numbers.
        text: text for ``init = "text"``; '' for whichever of the task's manual prompts is likeliest
            on dev.
        run: for ``init = "prompt"``: the folder of the run that learned it.
    """

    name: ClassVar[str] = "soft-prompt"

    learning_rates: tuple[float, ...] = (3e-3, 1e-2, 3e-2)
    length: int = 5
    init: str = "text"
    text: str = ""
    run: str = ""

    def __post_init__(self) -> None:
        """Refuses settings that cannot be meant.

        Raises:
            ConfigError: with what to write instead.
        """
        super().__post_init__()
        check_rows(self.length, self.init, self.text, self.run)

    @property
    def traits(self) -> Traits:
        """What sets it apart."""
        return Traits(True, False, False, ("causal", "masked", "seq2seq"))

    def tune(
        self, problem: Problem, *, seed: int, on_event: OnEvent, work: Path | None
    ) -> TunedSoftPrompt:
        """See :meth:`rlprompt.tuning.protocol.Tuner.tune`."""
        check_family(self.name, self.traits, problem.lm)
        template = self.template_of(problem)
        start = start_rows(
            problem,
            template,
            seed,
            length=self.length,
            init=self.init,
            text=self.text,
            run=self.run,
        )
        rows = SoftRows(template, start)
        history = self.train(problem, rows, seed=seed, on_event=on_event, work=work)
        return TunedSoftPrompt(problem, rows, start, history, start.numel())
