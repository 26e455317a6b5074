"""How much an explanation looks at."""

from dataclasses import dataclass

from rlprompt.core.errors import ConfigError


@dataclass(frozen=True)
class Settings:
    """How much an explanation looks at.

    Attributes:
        budget: LM forwards at most; None for what :meth:`forwards` says.
        seed: of the sample of orders.
        orders: other orders of the tokens, at most.
        swaps: near words for each token.
        words: near words for each label.
        cases: test examples at each end.
    """

    budget: int | None = None
    seed: int = 0
    orders: int = 12
    swaps: int = 6
    words: int = 4
    cases: int = 5

    def __post_init__(self) -> None:
        """Refuses numbers that cannot be meant.

        Raises:
            ConfigError: with the least that can be.
        """
        for name, least in (
            ("budget", 1),
            ("seed", 0),
            ("orders", 0),
            ("swaps", 0),
            ("words", 0),
            ("cases", 1),
        ):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name} must be {least} or more, not {value}.")

    def forwards(self, examples: int, spent: int) -> int:
        """Returns the budget in LM forwards.

        That is what 100 prompts take, but no more than it took to find the prompt; and always
        enough for the learned, the empty and the manual one.

        Args:
            examples: of train and dev together: what one prompt takes.
            spent: the run's own budget.
        """
        return self.budget or max(3 * examples, min(100 * examples, spent))
