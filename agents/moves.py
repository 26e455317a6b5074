"""What searches over prompts share: scoring in batches, elites, neighbours, and a way to go on.

A search that has finished its own course goes on with :meth:`Search.climb`, so that an agent spends
the budget that the others spend, and a best prompt is never left with a better neighbour unseen
while there is budget to see it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NoReturn, TypeAlias

import numpy as np

from rlprompt.agents.protocol import Problem
from rlprompt.core.events import OnEvent
from rlprompt.core.prompt import Prompt
from rlprompt.objective.objective import Scored

#: A prompt as indices into the action vocabulary.
Actions: TypeAlias = tuple[int, ...]


class Search:
    """One search's view of a problem, in actions in place of token ids."""

    def __init__(
        self, problem: Problem, *, seed: int, on_event: OnEvent, batch_size: int = 16
    ) -> None:
        """Begins a search.

        Args:
            problem: what is searched.
            seed: of :attr:`generator`, the only source of randomness.
            on_event: is told of every batch.
            batch_size: prompts scored in one LM call by :meth:`score_all` and :meth:`climb`.
        """
        self.problem = problem
        self.generator = np.random.default_rng(seed)
        self.batch_size = batch_size
        self._on_event = on_event
        self._action_of = {token: a for a, token in enumerate(problem.vocabulary.token_ids)}
        self._expanded: set[Prompt] = set()

    @property
    def size(self) -> int:
        """Number of actions."""
        return len(self.problem.vocabulary)

    @property
    def length(self) -> int:
        """Most tokens of a prompt."""
        return self.problem.length

    @property
    def affordable(self) -> int:
        """How many more prompts the budget covers."""
        return self.problem.objective.remaining // self.problem.objective.cost

    def score(
        self, batch: Sequence[Actions], metrics: Mapping[str, float] | None = None
    ) -> list[Scored]:
        """Scores prompts in one LM call and reports.

        Args:
            batch: prompts; known ones cost nothing.
            metrics: diagnostics for whoever watches.

        Raises:
            SearchOver: see :meth:`~rlprompt.objective.objective.Objective.evaluate`.
        """
        scored = self.problem.objective.evaluate([self.problem.prompt(list(a)) for a in batch])
        self._on_event(replace(self.problem.event(), metrics=dict(metrics or {})))
        return scored

    def score_all(self, prompts: Iterable[Actions]) -> list[tuple[Actions, Scored]]:
        """Scores any number of prompts, ``batch_size`` at a time, in their order."""
        todo = list(prompts)
        found: list[tuple[Actions, Scored]] = []
        for start in range(0, len(todo), self.batch_size):
            batch = todo[start : start + self.batch_size]
            found += zip(batch, self.score(batch), strict=True)
        return found

    def random_prompts(self, count: int, length: int | None = None) -> list[Actions]:
        """Draws prompts uniformly."""
        shape = (count, self.length if length is None else length)
        return [tuple(row) for row in self.generator.integers(0, self.size, shape).tolist()]

    def is_new(self, actions: Actions) -> bool:
        """Whether a prompt was not scored in this search."""
        return not self.problem.objective.knows(self.problem.prompt(list(actions)))

    def actions_of(self, prompt: Prompt) -> Actions | None:
        """Returns a prompt as actions, None where no actions write it.

        A token of it is not in the vocabulary, or a slot holds another number of tokens than the
        template asks for.
        """
        if prompt.sizes:
            return None
        actions = [self._action_of.get(token) for token in prompt.ids]
        return None if None in actions else tuple(a for a in actions if a is not None)

    def elite(self, count: int, length: int | None = None) -> list[tuple[Actions, float]]:
        """Returns the best prompts so far with their rewards, best first.

        Args:
            count: how many, at most.
            length: of exactly this many tokens; None for any number but 0.
        """
        found: list[tuple[Actions, float]] = []
        for entry in self.problem.objective.archive.ranked():
            if not entry.prompt or (length is not None and len(entry.prompt) != length):
                continue
            actions = self.actions_of(entry.prompt)
            if actions is not None:
                found.append((actions, entry.reward))
                if len(found) == count:
                    break
        return found

    def neighbours(self, actions: Actions) -> Iterator[Actions]:
        """Yields every prompt that differs in one token, or has one more, in random order."""
        positions = len(actions) + (len(actions) < self.length)
        for n in self.generator.permutation(positions * self.size).tolist():
            position, token = divmod(n, self.size)
            neighbour = (*actions[:position], token, *actions[position + 1 :])
            if neighbour != actions:
                yield neighbour

    def climb(self) -> NoReturn:
        """Scores the unseen neighbours of the best prompt, then of the next best, until the end.

        After each batch the best prompt of all is looked at anew, so this is first-improvement hill
        climbing that never stops and never repeats itself.

        Raises:
            SearchOver: always, in the end.
        """
        while True:
            start = self._unexpanded()
            best = self.problem.objective.archive.best
            batch: list[Actions] = []
            for neighbour in self.neighbours(start):
                if not self.is_new(neighbour):
                    continue
                batch.append(neighbour)
                if len(batch) == self.batch_size:
                    self.score(batch)
                    batch = []
                    if self.problem.objective.archive.best is not best:
                        break
            else:
                self._expanded.add(self.problem.prompt(list(start)))
                # An empty batch too: the objective ends a search that finds nothing new.
                self.score(batch or [start])

    def _unexpanded(self) -> Actions:
        """Returns the best prompt whose neighbours were not all seen; a random one if none."""
        for entry in self.problem.objective.archive.ranked():
            if entry.prompt and entry.prompt not in self._expanded:
                actions = self.actions_of(entry.prompt)
                if actions is not None:
                    return actions
        return self.random_prompts(1)[0]
