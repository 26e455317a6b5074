"""What all tuners share that learn by gradient: the settings of the training, and its call."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from rlprompt.core.events import OnEvent
from rlprompt.tasks.task import Task
from rlprompt.tasks.template import Template
from rlprompt.tuning.protocol import Problem, template_of
from rlprompt.tuning.trainable import Trainable
from rlprompt.tuning.training import BACKWARD, Training
from rlprompt.tuning.training_config import TrainingConfig


@dataclass(frozen=True)
class GradientTuner:
    """Settings of a tuner that learns by gradient; a tuner adds its own and ``tune``.

    Attributes:
        template: in place of the task's, e.g. to put the prompt before the input; '' for the
            task's own.
        learning_rates: tried one after the other; dev decides.
        steps: most updates of each.
        batch_size: train examples an update.
        accumulate: forwards that an update's examples are dealt to.
        optimizer: 'adamw' or 'adafactor'.
        warm_up: updates in which the learning rate rises.
        evaluate_every: updates between two looks at dev.
        patience: looks without a better one, after which a learning rate is given up.
    """

    name: ClassVar[str]

    template: str = ""
    learning_rates: tuple[float, ...] = (1e-3,)
    steps: int = 60
    batch_size: int = 8
    accumulate: int = 1
    optimizer: str = "adamw"
    warm_up: int = 5
    evaluate_every: int = 5
    patience: int = 4

    def __post_init__(self) -> None:
        """Refuses settings that cannot be meant.

        Raises:
            ConfigError: with what to write instead.
        """
        # A list, from a file of settings, is as good as a tuple.
        object.__setattr__(self, "learning_rates", self.training.learning_rates)

    @property
    def training(self) -> TrainingConfig:
        """The settings of the training itself."""
        return TrainingConfig(
            learning_rates=self.learning_rates,
            steps=self.steps,
            batch_size=self.batch_size,
            accumulate=self.accumulate,
            optimizer=self.optimizer,
            warm_up=self.warm_up,
            evaluate_every=self.evaluate_every,
            patience=self.patience,
        )

    def most_passes(self, task: Task) -> int:
        """Returns how many LM forwards, and twice the backwards, it takes on a task at most."""
        update = (1 + BACKWARD) * min(self.batch_size, len(task.train))
        looks = math.ceil(self.steps / self.evaluate_every)
        rate = self.steps * update + looks * len(task.dev)
        return len(self.learning_rates) * rate + (1 + len(task.manual_prompts)) * len(task.dev)

    def template_of(self, problem: Problem) -> Template:
        """Returns where input, prompt and answer stand."""
        return template_of(problem, self.template)

    def train(
        self,
        problem: Problem,
        trained: Trainable,
        *,
        seed: int,
        on_event: OnEvent,
        work: Path | None,
        large: bool = False,
    ) -> Sequence[Mapping[str, Any]]:
        """Trains in place: parameters end as they were when dev liked them best.

        Args:
            problem: LM, task and budget.
            trained: what is trained, as it is before training.
            seed: of all randomness.
            on_event: is told of progress.
            work: folder for the checkpoint; None for none.
            large: whether a checkpoint at every update would take longer than the update.

        Returns:
            A row for each look at dev.
        """
        settings = asdict(self)
        settings["learning_rates"] = list(self.learning_rates)
        training = Training(
            problem,
            trained,
            self.training,
            settings=settings,
            seed=seed,
            on_event=on_event,
            work=work,
            name=self.name,
            save_every=self.evaluate_every if large else 1,
        )
        training.run()
        return training.progress.history or []
