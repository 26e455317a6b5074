"""A prompt: what an agent proposes and a user ships."""

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Prompt:
    """Token ids of the prompt as it stands in the template's slot.

    The text is derived by the tokenizer of the LM (see ``rlprompt.tasks.tokenization``); a prompt
    is only ever scored in its canonical form, the ids that its own text encodes to, because the
    text is what leaves the program.

    Attributes:
        ids: token ids in order; empty for the empty prompt.
    """

    ids: tuple[int, ...] = ()

    def __len__(self) -> int:
        """Number of tokens."""
        return len(self.ids)

    def prefixes(self) -> "list[Prompt]":
        """Returns every non-empty prefix, the prompt itself last.

        >>> Prompt((1, 2)).prefixes()
        [Prompt(ids=(1,)), Prompt(ids=(1, 2))]
        """
        return [Prompt(self.ids[: n + 1]) for n in range(len(self.ids))]
