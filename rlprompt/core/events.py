"""What a run tells whoever watches it: a progress bar, a log, a test."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

#: Told of what takes seconds and has nothing to count, a line each, before it begins: 'loading
#: smollm2 ...'. The command line shows these; in Python they are log records like others.
steps = logging.getLogger("rlprompt.steps")


@dataclass(frozen=True)
class Event:
    """One report of progress.

    Attributes:
        phase: 'search', 'selection', 'test', or the name of a control.
        forwards: LM forwards charged so far in this phase.
        total: LM forwards this phase may be charged.
        best_reward: best reward so far, None before the first score.
        best_text: text of the best prompt so far.
        message: something worth a line of its own ('the policy collapsed: restarted'), or ''.
        metrics: diagnostics by name (entropy in nats, share of new prompts, ...).
    """

    phase: str
    forwards: int
    total: int
    best_reward: float | None = None
    best_text: str = ""
    message: str = ""
    metrics: dict[str, float] = field(default_factory=dict)


OnEvent = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Hears an event and does nothing; the default listener."""
