"""How a tuner's numbers are trained."""

import math
from dataclasses import dataclass

from rlprompt.core.errors import ConfigError, suggest

OPTIMIZERS = ("adamw", "adafactor")


@dataclass(frozen=True)
class TrainingConfig:
    """How a tuner's numbers are trained.

    Attributes:
        learning_rates: tried one after the other, each from the same start; dev decides.
        steps: most updates of each.
        batch_size: train examples an update.
        accumulate: forwards that an update's examples are dealt to, where memory is short.
        optimizer: 'adamw' or 'adafactor'.
        warm_up: updates in which the learning rate rises to its value.
        evaluate_every: updates between two looks at dev.
        patience: looks at dev without a better one, after which a learning rate is given up.
        weight_decay: of AdamW.
    """

    learning_rates: tuple[float, ...]
    steps: int = 60
    batch_size: int = 8
    accumulate: int = 1
    optimizer: str = "adamw"
    warm_up: int = 5
    evaluate_every: int = 5
    patience: int = 4
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        """Refuses settings that cannot be meant.

        Raises:
            ConfigError: with what to write instead.
        """
        object.__setattr__(self, "learning_rates", tuple(self.learning_rates))
        if not self.learning_rates:
            raise ConfigError("learning_rates is empty: give one or more.")
        for rate in self.learning_rates:
            if not isinstance(rate, float) or not 0 < rate < math.inf:
                raise ConfigError(f"A learning rate must be a number above 0, not {rate!r}.")
        for name in ("steps", "batch_size", "accumulate", "evaluate_every", "patience"):
            if type(value := getattr(self, name)) is not int or value < 1:
                raise ConfigError(f"{name} must be a whole number of 1 or more, not {value!r}.")
        if self.accumulate > self.batch_size:
            raise ConfigError(
                f"accumulate = {self.accumulate} is more than batch_size = {self.batch_size}: a "
                "forward needs an example."
            )
        if type(self.warm_up) is not int or self.warm_up < 0:
            raise ConfigError(f"warm_up must be 0 or more updates, not {self.warm_up!r}.")
        if self.optimizer not in OPTIMIZERS:
            raise ConfigError(
                f"Unknown optimizer {self.optimizer!r}.{suggest(self.optimizer, OPTIMIZERS)} "
                f"Known: {', '.join(OPTIMIZERS)}."
            )
        if not self.weight_decay >= 0:
            raise ConfigError(f"weight_decay must be 0 or more, not {self.weight_decay!r}.")
