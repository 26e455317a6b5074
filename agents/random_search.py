"""Uniform random prompts: the control without which no number means anything."""

from dataclasses import dataclass

import numpy as np

from rlprompt.agents.protocol import Problem
from rlprompt.core.errors import ConfigError
from rlprompt.core.events import OnEvent


@dataclass(frozen=True)
class RandomSearch:
    """Draws every token independently and uniformly from the action vocabulary.

    Attributes:
        batch_size: prompts scored in one LM call.
    """

    batch_size: int = 16

    def __post_init__(self) -> None:
        """Refuses an empty batch."""
        if self.batch_size < 1:
            raise ConfigError(f"batch_size must be 1 or more, not {self.batch_size}.")

    def optimize(self, problem: Problem, *, seed: int, on_event: OnEvent) -> None:
        """Draws prompts until the budget is spent."""
        generator = np.random.default_rng(seed)
        size = len(problem.vocabulary)
        while True:
            actions = generator.integers(0, size, (self.batch_size, problem.length))
            problem.objective.evaluate([problem.prompt(row.tolist()) for row in actions])
            on_event(problem.event())
