"""Every single token of the vocabulary, then the best ones together."""

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from rlprompt.agents.moves import Actions, Search
from rlprompt.agents.protocol import Problem
from rlprompt.agents.pruning import affordable_tokens, check_share, single_token_effects
from rlprompt.core.errors import ConfigError
from rlprompt.core.events import OnEvent


@dataclass(frozen=True)
class SingleToken:
    """Scores the vocabulary token by token, most frequent first, then combines the best.

    The control that a prompt of several tokens has to beat: one hand-picked word gives 91.7 % on
    SST-2 where RLPrompt's five learned tokens give 92.5 % (Deng et al., EMNLP 2022,
    arXiv:2205.12548). The combinations take single-token effects to add up and come in the order of
    the sum; when they are all scored, hill climbing goes on from the best prompt.

    Attributes:
        share: most of the budget that single tokens may take; a vocabulary that fits is scored
            whole. Half, so that one run answers both what single tokens can do and what their
            combinations add.
        top_k: tokens that are combined. 4 is the most with which the combinations of 5 tokens
            (1,024) cost no more than the single tokens of the default vocabulary (2,000).
        batch_size: prompts scored in one LM call.
    """

    share: float = 0.5
    top_k: int = 4
    batch_size: int = 16

    def __post_init__(self) -> None:
        """Refuses settings that cannot be meant.

        Raises:
            ConfigError: with the setting and its range.
        """
        for name in ("top_k", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be 1 or more, not {getattr(self, name)}.")
        check_share(self.share)

    def optimize(self, problem: Problem, *, seed: int, on_event: OnEvent) -> None:
        """Scores single tokens, combinations and neighbours until the budget is spent."""
        search = Search(problem, seed=seed, on_event=on_event, batch_size=self.batch_size)
        tokens = list(range(affordable_tokens(search, self.share)))
        effects = single_token_effects(search, tokens)[: self.top_k]
        new = filter(search.is_new, combinations(effects, search.length, search.generator))
        while batch := list(islice(new, self.batch_size)):
            search.score(batch)
        search.climb()


def combinations(
    effects: Sequence[tuple[int, float]], length: int, generator: np.random.Generator
) -> Iterator[Actions]:
    """Yields all ordered tuples of tokens, repetitions included, the greatest sum of effects first.

    A best-first walk: the tuples are a tree in which the parent of a tuple has the next better
    token at the last position that does not hold the best one, so no parent has the smaller sum.
    Only tuples next to those already yielded are held, of ``len(effects) ** length``.

    Args:
        effects: tokens with their effects, best first.
        length: tokens of a tuple, 1 or more.
        generator: orders tuples of equal sum, as all orders of the same tokens.

    >>> list(combinations([(7, 0.5), (3, 0.1)], 2, np.random.default_rng(0)))
    [(7, 7), (7, 3), (3, 7), (3, 3)]
    """

    def entry(ranks: tuple[int, ...]) -> tuple[float, float, tuple[int, ...]]:
        # fsum: the sum must not depend on the order of the tokens, not even in its last bit.
        return -math.fsum(effects[rank][1] for rank in ranks), generator.random(), ranks

    heap = [entry((0,) * length)]
    while heap:
        _, _, ranks = heapq.heappop(heap)
        yield tuple(effects[rank][0] for rank in ranks)
        changed = max((n for n, rank in enumerate(ranks) if rank), default=0)
        for n in range(changed, length):
            if ranks[n] + 1 < len(effects):
                heapq.heappush(heap, entry((*ranks[:n], ranks[n] + 1, *ranks[n + 1 :])))
