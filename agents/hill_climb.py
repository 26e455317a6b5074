"""Hill climbing: one token is substituted at a time, with restarts."""

from dataclasses import dataclass
from itertools import islice

from rlprompt.agents.moves import Actions, Search
from rlprompt.agents.protocol import Problem
from rlprompt.core.errors import ConfigError
from rlprompt.core.events import OnEvent

#: Random batches in a row without one new prompt, after which random restarts are given up.
STALE_BATCHES = 8


@dataclass(frozen=True)
class HillClimb:
    """Moves to the best of a batch of one-token substitutions if it is better than where it stands.

    A climb starts from the best of a batch of random prompts and ends after ``patience`` batches
    without a better one, or when no neighbour is unseen; then the next one starts elsewhere. The
    archive keeps what earlier climbs found.

    The relative in the literature is GrIPS (Prasad et al., EACL 2023, arXiv:2203.07281), which
    scores a few edits of an instruction's phrases in each iteration, moves to the best if it is
    better, and stops when its patience is over (5 edits, patience 2: 10 candidates). Here a prompt
    has some hundred to some ten thousand neighbours, and 256 of them have to fail.

    Attributes:
        batch_size: substitutions scored before it may move.
        patience: batches without a better prompt before it starts anew.
    """

    batch_size: int = 16
    patience: int = 16

    def __post_init__(self) -> None:
        """Refuses empty batches and climbs that end before they begin."""
        for name in ("batch_size", "patience"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be 1 or more, not {getattr(self, name)}.")

    def optimize(self, problem: Problem, *, seed: int, on_event: OnEvent) -> None:
        """Climbs again and again until the budget is spent."""
        search = Search(problem, seed=seed, on_event=on_event, batch_size=self.batch_size)
        while True:
            self._climb(search, self._random_batch(search))

    def _climb(self, search: Search, batch: list[Actions]) -> None:
        """Scores a batch and climbs from the best of it."""
        place, reward = best_of(search, batch)
        failures = 0
        while failures < self.patience:
            unseen = filter(search.is_new, search.neighbours(place))
            batch = list(islice(unseen, self.batch_size))
            if not batch:
                return
            found, gained = best_of(search, batch)
            failures = 0 if gained > reward else failures + 1
            if gained > reward:
                place, reward = found, gained

    def _random_batch(self, search: Search) -> list[Actions]:
        for _ in range(STALE_BATCHES):
            drawn = dict.fromkeys(search.random_prompts(self.batch_size))
            batch = list(filter(search.is_new, drawn))
            if batch:
                return batch
        search.climb()


def best_of(search: Search, batch: list[Actions]) -> tuple[Actions, float]:
    """Scores prompts; returns the best with its reward, the first of equals."""
    rewards = [scored.reward for scored in search.score(batch)]
    return max(zip(batch, rewards, strict=True), key=lambda pair: pair[1])
