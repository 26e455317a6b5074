"""What was spent. The unit is the LM forward: one example with one prompt through the LM."""

from dataclasses import dataclass, field

from rlprompt.core.errors import BudgetExhausted, ConfigError


@dataclass(frozen=True)
class Budget:
    """A hard limit in LM forwards.

    Attributes:
        forwards: how many LM forwards may be charged; one forward is one example with one prompt.
    """

    forwards: int

    def __post_init__(self) -> None:
        """Refuses budgets that buy nothing."""
        if self.forwards < 1:
            raise ConfigError(f"A budget of {self.forwards} LM forwards buys nothing; write 1 up.")


@dataclass
class Ledger:
    """Counts what one run is charged.

    A prompt is charged once a run, on first request, wherever its score comes from: the LM, or the
    evaluation log of a run that was killed. So a resumed run ends with the ledger of an
    uninterrupted one, and ``computed`` says what this process really ran.

    Attributes:
        forwards: LM forwards charged.
        cache_hits: LM forwards asked for again and not charged again.
        computed: LM forwards that this process ran.
        replayed: LM forwards that were charged and came from the evaluation log.
        tokens: tokens that went through the LM for the scores charged here, in whichever process;
            neither padding nor the cached left sides of the examples are counted.
        seconds: wall seconds inside the LM for the same.
        saved_tokens: tokens more that it would have been, had prompts that were scored together not
            shared what they begin with.
    """

    forwards: int = 0
    cache_hits: int = 0
    computed: int = 0
    replayed: int = 0
    tokens: int = 0
    seconds: float = 0.0
    saved_tokens: int = 0
    _counted: set[object] = field(default_factory=set, repr=False)

    def count(self, call: object, tokens: int, seconds: float, saved: int = 0) -> None:
        """Counts the cost of an LM call, once however many of its scores are asked for."""
        if call not in self._counted:
            self._counted.add(call)
            self.tokens += tokens
            self.seconds += seconds
            self.saved_tokens += saved

    def charge(self, forwards: int, budget: Budget) -> None:
        """Charges LM forwards, before they are run.

        Raises:
            BudgetExhausted: the budget does not cover them; nothing is charged.
        """
        if self.forwards + forwards > budget.forwards:
            raise BudgetExhausted(
                f"{forwards} LM forwards do not fit: {self.forwards} of {budget.forwards} are "
                "spent."
            )
        self.forwards += forwards
