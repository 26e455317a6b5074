"""Which forwards are paid for: once a prompt, its prefixes and one continuation included."""

from enum import Enum

from rlprompt.core.prompt import Prompt


class Due(Enum):
    """What scoring a prompt takes."""

    FORWARD = "a forward with each example"
    CONTINUATION = "nothing but going on with the forward of a prompt that is paid for"
    NOTHING = "nothing: its score came with another prompt's"


class Account:
    """The prompts that were paid for on some examples."""

    def __init__(self) -> None:
        """Nothing is paid for."""
        self._covered: set[Prompt] = set()
        self._open: set[Prompt] = set()

    def due(self, prompt: Prompt, prefixes_are_free: bool) -> Due:
        """Returns what a prompt takes now.

        Args:
            prompt: the prompt.
            prefixes_are_free: whether the scores of its prefixes come with its own forward.
        """
        if prompt in self._covered:
            return Due.NOTHING
        if prefixes_are_free and Prompt(prompt.ids[:-1]) in self._open:
            return Due.CONTINUATION
        return Due.FORWARD

    def pay(self, prompt: Prompt, prefixes_are_free: bool) -> None:
        """Takes note that a prompt is paid for."""
        if self.due(prompt, prefixes_are_free) is Due.NOTHING:
            return
        # A forward goes on once.
        self._open.discard(Prompt(prompt.ids[:-1]))
        self._open.add(prompt)
        self._covered.add(prompt)
        if prefixes_are_free:
            self._covered.update(prompt.prefixes())
