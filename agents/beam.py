"""Beam search from left to right over a pruned vocabulary."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from rlprompt.agents.moves import Actions, Search
from rlprompt.agents.protocol import Problem
from rlprompt.agents.pruning import check_clustering, check_share, prune
from rlprompt.core.errors import ConfigError
from rlprompt.core.events import OnEvent


@dataclass(frozen=True)
class Beam:
    """Builds prompts token by token and keeps the ``width`` best of each length.

    ClaPS (Zhou et al., Findings of EMNLP 2023, arXiv:2310.12774) with a beam in place of its greedy
    search: the vocabulary is pruned to the tokens that do most on their own, then every prefix of
    the beam is extended by every kept token. What pruning leaves of the budget is divided evenly
    over the positions, which says how many tokens are kept. Budget that is left when all positions
    are filled goes into hill climbing from the best prompt.

    Attributes:
        width: prefixes that are kept at each position. The tokens that can be tried behind a prefix
            are divided by it, so no more than makes it a beam.
        share: most of the budget that pruning may take. Less than greedy's (0.7, from ClaPS), since
            there are more prefixes to extend.
        batch_size: prompts scored in one LM call.
    """

    width: int = 2
    share: float = 0.5
    batch_size: int = 16

    def __post_init__(self) -> None:
        """Refuses settings that cannot be meant.

        Raises:
            ConfigError: with the setting and its range, or with the package that is missing.
        """
        for name in ("width", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be 1 or more, not {getattr(self, name)}.")
        check_share(self.share)
        check_clustering("beam")

    def optimize(self, problem: Problem, *, seed: int, on_event: OnEvent) -> None:
        """Prunes, builds and climbs until the budget is spent."""
        search = Search(problem, seed=seed, on_event=on_event, batch_size=self.batch_size)
        build(search, width=self.width, share=self.share)


def build(search: Search, *, width: int, share: float) -> NoReturn:
    """Prunes, fills position after position, then climbs.

    Args:
        search: scores.
        width: prefixes that are kept at each position.
        share: most of the budget that pruning may take, in (0, 1].

    Raises:
        SearchOver: always, in the end.
    """
    tokens = prune(search, share)
    # The single tokens are the first position, and known.
    beam: list[Actions] = [(token,) for token in tokens[:width]]
    for position in range(1, search.length):
        left = search.length - position
        kept = max(1, search.affordable // (left * len(beam)))
        beam = extend(search, beam, tokens[:kept])[:width]
    search.climb()


def extend(search: Search, beam: Sequence[Actions], tokens: Sequence[int]) -> list[Actions]:
    """Scores every prefix with every token behind it.

    Where prefixes are free, the first token behind each prefix goes on with the prefix's own
    forward and costs nothing.

    Args:
        search: scores.
        beam: prefixes.
        tokens: actions.

    Returns:
        The longer prompts, best first; of equals, those of the earlier prefix and token.

    Raises:
        SearchOver: from the objective.
    """
    found = search.score_all((*prefix, token) for prefix in beam for token in tokens)
    return [actions for actions, _ in sorted(found, key=lambda pair: -pair[1].reward)]
