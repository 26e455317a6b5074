"""A prompt: what an agent proposes and a user ships."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Prompt:
    """Token ids of the prompt as it stands in the template's slots.

    The text is derived by the tokenizer of the LM (see ``rlprompt.tasks.tokenization``); a prompt
    is only ever scored in its canonical form, the ids that its own text encodes to, because the
    text is what leaves the program.

    Attributes:
        ids: token ids in order, all slots together; empty for the empty prompt.
        sizes: tokens in each slot but the last, where they are not those that the template asks
            for, as in a text that was written by hand or for another tokenizer; else empty.
    """

    ids: tuple[int, ...] = ()
    sizes: tuple[int, ...] = ()

    def __len__(self) -> int:
        """Number of tokens."""
        return len(self.ids)

    @classmethod
    def of(cls, parts: Sequence[Sequence[int]], sizes: Sequence[int]) -> "Prompt":
        """Makes the prompt that has these ids in its slots: the opposite of :meth:`parts`.

        Equal parts make equal prompts.

        >>> Prompt.of([(1, 2), (3,)], sizes=(2, 3))
        Prompt(ids=(1, 2, 3), sizes=())
        >>> Prompt.of([(1,), (3,)], sizes=(2, 3))
        Prompt(ids=(1, 3), sizes=(1,))
        """
        plain = cls(tuple(token for part in parts for token in part))
        if plain.parts(sizes) == tuple(map(tuple, parts)):
            return plain
        return cls(plain.ids, tuple(map(len, parts[:-1])))

    def parts(self, sizes: Sequence[int]) -> tuple[tuple[int, ...], ...]:
        """Returns the ids in each slot.

        Args:
            sizes: tokens of each slot as the template has them; empty for a single slot. Slots are
                filled from the left, and the last one takes all that is left.

        >>> Prompt((1, 2, 3)).parts((2, 3))
        ((1, 2), (3,))
        """
        parts, start = [], 0
        for size in self.sizes or sizes[:-1]:
            parts.append(self.ids[start : start + size])
            start += size
        return (*parts, self.ids[start:])

    def prefixes(self) -> "list[Prompt]":
        """Returns every non-empty prefix, the prompt itself last.

        >>> [prefix.ids for prefix in Prompt((1, 2)).prefixes()]
        [(1,), (1, 2)]
        """
        return [Prompt(self.ids[: n + 1], self.sizes) for n in range(len(self.ids))]
