"""A test split that can be looked at once."""

from collections import Counter
from collections.abc import Mapping

from rlprompt.core.errors import DataError, RunError
from rlprompt.tasks.examples import Split
from rlprompt.tasks.splits import check_split, overlap
from rlprompt.tasks.template import Template


class SealedSplit:
    """Holds a split and hands it out once, so that nothing can be selected on test.

    It tells what can be known without reading an example: size, class sizes, hash. The seal is a
    guard against mistakes, not against intent.
    """

    def __init__(self, split: Split) -> None:
        """Seals a split."""
        self._split = split
        self._reason: str | None = None
        self._withheld = False

    @property
    def hash(self) -> str:
        """Hash of the content: 16 hex digits."""
        return self._split.hash

    @property
    def sizes(self) -> Mapping[int, int]:
        """Number of examples of each label index that occurs."""
        return dict(sorted(Counter(self._split.gold).items()))

    @property
    def opened(self) -> str | None:
        """What the split was opened for, None while it is sealed."""
        return self._reason

    def __len__(self) -> int:
        """Number of examples."""
        return len(self._split)

    def __repr__(self) -> str:
        """Shows size, hash and state, never an example."""
        state = f"opened for {self._reason!r}" if self._reason is not None else "sealed"
        return f"SealedSplit({len(self)} examples, {self.hash}, {state})"

    def check(self, template: Template, n_labels: int) -> None:
        """Checks the examples as :func:`rlprompt.tasks.splits.check_split` does; opens nothing."""
        check_split(self._split, template, n_labels)

    def overlap(self, other: Split) -> int:
        """Returns how many distinct inputs stand in both splits; opens nothing."""
        return len(overlap(self._split, other))

    def withheld(self) -> "SealedSplit":
        """Returns a copy that nobody can open, for what may know of the split and not see it."""
        copy = SealedSplit(self._split)
        copy._withheld = True
        return copy

    def open(self, reason: str) -> Split:
        """Hands out the split, the first time.

        Args:
            reason: what it is opened for, as it stands in the record of the run.

        Raises:
            DataError: it is withheld.
            RunError: it was opened before.
        """
        if self._withheld:
            raise DataError(
                f"The test split is not for what learns or selects: it cannot be opened for "
                f"{reason!r}."
            )
        if self._reason is not None:
            raise RunError(
                f"The test split opens once per run; it was opened for {self._reason!r} and "
                f"cannot be opened for {reason!r}. Score everything in one go, or start a new run."
            )
        self._reason = reason
        return self._split
