"""Examples and the splits they stand in."""

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from rlprompt.core.hashing import content_hash


@dataclass(frozen=True)
class Example:
    """One labelled input.

    Attributes:
        fields: text of each input field by name, as the template names them.
        label: index of the right label.
    """

    fields: Mapping[str, str]
    label: int

    @property
    def normalised(self) -> str:
        """The input folded to what makes two examples the same: case, width and white space."""
        joined = "\n".join(f"{k}:{v}" for k, v in sorted(self.fields.items()))
        return " ".join(unicodedata.normalize("NFKC", joined).casefold().split())


@dataclass(frozen=True)
class Split:
    """An ordered set of examples with a content hash.

    Attributes:
        name: 'train', 'dev' or 'test'.
        examples: the examples, in a fixed order.
    """

    name: str
    examples: tuple[Example, ...]

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.examples)

    def __iter__(self) -> Iterator[Example]:
        """Iterates over the examples in order."""
        return iter(self.examples)

    @cached_property
    def hash(self) -> str:
        """Hash of the content, not of the name: 16 hex digits."""
        return content_hash([[dict(e.fields), e.label] for e in self.examples])

    @property
    def gold(self) -> tuple[int, ...]:
        """Label index of each example."""
        return tuple(example.label for example in self.examples)
