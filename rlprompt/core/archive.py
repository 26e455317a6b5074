"""The best prompts seen, with their scores and when they were found."""

from dataclasses import dataclass

from rlprompt.core.prompt import Prompt


@dataclass(frozen=True)
class Entry:
    """One scored prompt.

    Attributes:
        prompt: the prompt in canonical form.
        reward: value of the search's reward on train, higher is better.
        found_at: LM forwards charged when its score was known.
    """

    prompt: Prompt
    reward: float
    found_at: int


class Archive:
    """Every distinct prompt scored in a run, and the course of the best.

    Entries are immutable and never leave; a "best so far" cannot change later.
    """

    def __init__(self) -> None:
        """Makes an empty archive."""
        self._entries: dict[Prompt, Entry] = {}
        self._trace: list[Entry] = []

    def add(self, prompt: Prompt, reward: float, found_at: int) -> bool:
        """Adds a prompt if it is new; returns whether it is the best so far."""
        if prompt in self._entries:
            return False
        entry = Entry(prompt, reward, found_at)
        self._entries[prompt] = entry
        if not self._trace or reward > self._trace[-1].reward:
            self._trace.append(entry)
            return True
        return False

    def __len__(self) -> int:
        """Number of distinct prompts."""
        return len(self._entries)

    def __contains__(self, prompt: Prompt) -> bool:
        """Whether the prompt was scored in this run."""
        return prompt in self._entries

    @property
    def best(self) -> Entry | None:
        """The entry with the greatest reward, the earliest of equals; None if empty."""
        return self._trace[-1] if self._trace else None

    @property
    def trace(self) -> list[Entry]:
        """Each improvement of the best, oldest first."""
        return list(self._trace)

    def top(self, n: int) -> list[Entry]:
        """Returns the ``n`` best entries, best first; ties by age, so the order is determined."""
        return self.ranked()[:n]

    def ranked(self) -> list[Entry]:
        """Returns all entries, best first; ties by age."""
        return sorted(self._entries.values(), key=lambda entry: -entry.reward)
