"""Greedy search from left to right over a pruned vocabulary."""

from dataclasses import dataclass

from rlprompt.agents.beam import build
from rlprompt.agents.moves import Search
from rlprompt.agents.protocol import Problem
from rlprompt.agents.pruning import check_clustering, check_share
from rlprompt.core.errors import ConfigError
from rlprompt.core.events import OnEvent


@dataclass(frozen=True)
class Greedy:
    r"""Appends, position by position, the kept token that gives the best prompt.

    ClaPS with greedy search (Zhou et al., Findings of EMNLP 2023, arXiv:2310.12774):

    .. math:: p_t = \arg\max_{v \in V_{kept}} R(p_1 \ldots p_{t-1} v)

    It is :class:`~rlprompt.agents.beam.Beam` with a beam of one prefix: pruning, number of kept
    tokens and what happens afterwards are described there.

    Attributes:
        share: most of the budget that pruning may take. ClaPS scores 2,000 tokens alone and then
            the best 10 % at each of 4 further positions, which is 2,000 of 2,800 prompts.
        batch_size: prompts scored in one LM call.
    """

    share: float = 0.7
    batch_size: int = 16

    def __post_init__(self) -> None:
        """Refuses settings that cannot be meant.

        Raises:
            ConfigError: with the setting and its range, or with the package that is missing.
        """
        if self.batch_size < 1:
            raise ConfigError(f"batch_size must be 1 or more, not {self.batch_size}.")
        check_share(self.share)
        check_clustering("greedy")

    def optimize(self, problem: Problem, *, seed: int, on_event: OnEvent) -> None:
        """Prunes, builds and climbs until the budget is spent."""
        search = Search(problem, seed=seed, on_event=on_event, batch_size=self.batch_size)
        build(search, width=1, share=self.share)
