"""Where episodes of edits start."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from rlprompt.core.errors import ConfigError
from rlprompt.core.prompt import Prompt
from rlprompt.envs.edit_rules import EditRules
from rlprompt.objective.objective import Objective

#: Texts or prompts, of which each episode draws one; or a function that draws by itself.
Start: TypeAlias = Sequence[str | Prompt] | Callable[[np.random.Generator], str | Prompt]


@dataclass(frozen=True)
class Elites:
    """Draws one of the best prompts that were scored so far; before there are any, the empty one.

    The same seed draws the same only where the same was scored before.

    Attributes:
        objective: whose archive holds them.
        max_length: longer ones are left out.
        count: how many of the best there are to draw from.
    """

    objective: Objective
    max_length: int
    count: int = 8

    def __call__(self, generator: np.random.Generator) -> Prompt:
        """Returns one of them."""
        found: list[Prompt] = []
        for entry in self.objective.archive.ranked():
            # With sizes of their own the same tokens stand elsewhere than an edit leaves them.
            if len(entry.prompt) <= self.max_length and not entry.prompt.sizes:
                found.append(entry.prompt)
                if len(found) == self.count:
                    break
        return found[int(generator.integers(len(found)))] if found else Prompt()


def draw(
    start: Start, generator: np.random.Generator, objective: Objective, rules: EditRules
) -> Prompt:
    """Returns a prompt to start from, in canonical form.

    Raises:
        ConfigError: episodes cannot start from what was drawn.
    """
    chosen = start(generator) if callable(start) else start[int(generator.integers(len(start)))]
    return start_prompt(chosen, objective, rules)


def start_prompt(given: str | Prompt, objective: Objective, rules: EditRules) -> Prompt:
    """Returns the canonical form of a prompt that an episode is to start from.

    Raises:
        ConfigError: no episode can start from it.
    """
    if not isinstance(given, str | Prompt):
        raise ConfigError(f"The start {given!r} is no text: write a text in its place.")
    prompt = objective.prompt(given) if isinstance(given, str) else objective.canonical(given)
    text = objective.text(prompt)
    if len(prompt) > rules.max_length:
        raise ConfigError(
            f"The start {text!r} has {len(prompt)} tokens, more than max_length = "
            f"{rules.max_length}: shorten it, or allow longer prompts."
        )
    if prompt.sizes:
        raise ConfigError(
            f"The start {text!r} does not fill the template's slots from the left: give each slot "
            "but the last the number of tokens that the template asks for."
        )
    if rules.min_length - len(prompt) > rules.max_edits:
        raise ConfigError(
            f"From the start {text!r} max_edits = {rules.max_edits} edits do not lead to "
            f"min_length = {rules.min_length} tokens: allow more edits."
        )
    return prompt


def check_start(start: Start, objective: Objective, rules: EditRules) -> None:
    """Checks every prompt of a list; what a function draws is checked when it is drawn.

    Raises:
        ConfigError: there is none, one is no text, or no episode can start from one.
    """
    if callable(start):
        return
    if isinstance(start, str):
        raise ConfigError(f"start = {start!r} is one text: write a list of texts, [{start!r}].")
    if not len(start):
        raise ConfigError("start is an empty list: write [''] to start from the empty prompt.")
    for given in start:
        start_prompt(given, objective, rules)
