"""What an edit may do to a prompt, and when an episode of edits ends."""

from dataclasses import dataclass
from enum import IntEnum
from typing import TypedDict, get_args

import numpy as np

from rlprompt.core.errors import ConfigError, suggest
from rlprompt.envs.episodes import BoolArray, Timing


class EditKind(IntEnum):
    """First number of an action; the comments say what its position and token mean."""

    REPLACE = 0  # the token at the position gives way to the token
    INSERT = 1  # the token comes before the token at the position
    APPEND = 2  # the token comes last; the position means nothing
    DELETE = 3  # the token at the position goes; the token means nothing
    STOP = 4  # the prompt stays as it is, and the episode ends


class EditRuleSettings(TypedDict, total=False):
    """Keyword arguments of all edit environments, as in :class:`EditRules`."""

    max_length: int
    min_length: int
    max_edits: int
    timing: Timing


@dataclass(frozen=True, kw_only=True)
class EditRules:
    """How far edits go, and when they pay.

    Attributes:
        max_length: greatest number of tokens of a prompt.
        min_length: least number of tokens at the end of an episode. A start may be shorter; masks
            then leave a way to get there.
        max_edits: steps of an episode.
        timing: 'dense' pays after every edit what the edit gained; 'terminal' pays at the end what
            the episode gained and scores nothing before.
    """

    max_length: int = 5
    min_length: int = 1
    max_edits: int = 8
    timing: Timing = "dense"

    def __post_init__(self) -> None:
        """Refuses rules that cannot be meant.

        Raises:
            ConfigError: with what to write instead.
        """
        if self.max_length < 1:
            raise ConfigError(
                f"max_length = {self.max_length}: a prompt needs room for a token or more."
            )
        if not 0 <= self.min_length <= self.max_length:
            raise ConfigError(
                f"min_length = {self.min_length}: write a number from 0 to max_length = "
                f"{self.max_length}."
            )
        if self.max_edits < 1:
            raise ConfigError(f"max_edits = {self.max_edits}: an episode needs an edit or more.")
        if self.timing not in get_args(Timing):
            raise ConfigError(
                f"Unknown timing {self.timing!r}.{suggest(str(self.timing), get_args(Timing))} "
                f"Known: {', '.join(get_args(Timing))}."
            )

    def kinds(self, length: int, edits_left: int) -> BoolArray:
        """Returns which kinds of edit are possible; never none.

        Args:
            length: tokens of the prompt.
            edits_left: edits of the episode that are left, 1 or more.

        Returns:
            Shape (5,), in the order of :class:`EditKind`.
        """
        missing = self.min_length - length
        hurry = 0 < missing >= edits_left  # every edit that is left has to add a token
        room = length < self.max_length
        allowed = np.zeros(len(EditKind), np.bool_)
        allowed[EditKind.REPLACE] = length > 0 and not hurry
        allowed[EditKind.INSERT] = length > 0 and room  # in the empty prompt it is APPEND
        allowed[EditKind.APPEND] = room
        allowed[EditKind.DELETE] = length > self.min_length
        allowed[EditKind.STOP] = missing <= 0
        return allowed


def edited(ids: tuple[int, ...], kind: EditKind, position: int, token: int) -> tuple[int, ...]:
    """Returns a prompt's ids after an edit; a position beyond the prompt means its last token.

    >>> edited((7, 8), EditKind.INSERT, 0, 5)
    (5, 7, 8)
    >>> edited((7, 8), EditKind.DELETE, 4, 5)
    (7,)
    """
    at = min(position, max(len(ids) - 1, 0))
    match kind:
        case EditKind.REPLACE:
            return (*ids[:at], token, *ids[at + 1 :])
        case EditKind.INSERT:
            return (*ids[:at], token, *ids[at:])
        case EditKind.APPEND:
            return (*ids, token)
        case EditKind.DELETE:
            return (*ids[:at], *ids[at + 1 :])
        case EditKind.STOP:
            return ids
