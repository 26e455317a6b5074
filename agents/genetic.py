"""Genetic search: crossover and mutation on an elite."""

from dataclasses import dataclass

from rlprompt.agents.moves import Actions, Search
from rlprompt.agents.protocol import Problem
from rlprompt.core.errors import ConfigError
from rlprompt.core.events import OnEvent

#: Children drawn for each one that is wanted, before a population counts as exhausted.
TRIES = 32


@dataclass(frozen=True)
class Genetic:
    """Crosses and mutates the best prompts of all so far; proposes none twice.

    A child is one elite, or takes each position's token from one of two (uniform crossover); then
    1 to ``most_mutations`` of its tokens are drawn anew. A parent is the best of ``tournament``
    elites drawn at random (Goldberg & Deb 1991). Until there are ``elites`` prompts of full length
    to be parents, prompts are uniform.

    Sources: ClaPS (Zhou et al., Findings of EMNLP 2023, arXiv:2310.12774) searches token prompts
    with a genetic algorithm, EvoPrompt (Guo et al., ICLR 2024, arXiv:2309.08532) has an LM do both
    moves on sentences and prefers better parents. The defaults are for budgets of some hundred
    prompts; of eight settings of the last two they went furthest on planted prompts of 3 tokens.

    Attributes:
        batch_size: children scored in one LM call.
        elites: how many of the best prompts may be parents.
        crossover: share of the children that have two parents, in [0, 1].
        most_mutations: a child has 1 to this many tokens drawn anew.
        tournament: elites drawn for each parent, of which the best becomes it.
    """

    batch_size: int = 16
    elites: int = 12
    crossover: float = 0.5
    most_mutations: int = 1
    tournament: int = 3

    def __post_init__(self) -> None:
        """Refuses settings that cannot be meant."""
        for name in ("batch_size", "elites", "most_mutations", "tournament"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be 1 or more, not {getattr(self, name)}.")
        if not 0 <= self.crossover <= 1:
            raise ConfigError(f"crossover must lie in [0, 1], not {self.crossover}.")

    def optimize(self, problem: Problem, *, seed: int, on_event: OnEvent) -> None:
        """Breeds until the budget is spent."""
        search = Search(problem, seed=seed, on_event=on_event, batch_size=self.batch_size)
        while batch := self._offspring(search):
            search.score(batch)
        search.climb()

    def _offspring(self, search: Search) -> list[Actions]:
        """Returns up to ``batch_size`` distinct prompts that were never scored."""
        parents = [a for a, _ in search.elite(self.elites, search.length)]
        found: dict[Actions, None] = {}
        for _ in range(TRIES * self.batch_size):
            if len(parents) < self.elites:
                (child,) = search.random_prompts(1)
            else:
                child = self._child(search, parents)
            if child not in found and search.is_new(child):
                found[child] = None
                if len(found) == self.batch_size:
                    break
        return list(found)

    def _child(self, search: Search, parents: list[Actions]) -> Actions:
        draw = search.generator
        # Parents are sorted, so the best of a tournament has the least index.
        drawn = draw.integers(0, len(parents), (2, self.tournament)).min(axis=1)
        one, other = (parents[n] for n in drawn.tolist())
        child = list(one)
        if draw.random() < self.crossover:
            take = draw.random(search.length) < 0.5
            child = [b if t else a for a, b, t in zip(one, other, take, strict=True)]
        most = min(self.most_mutations, search.length)
        for position in draw.permutation(search.length)[: draw.integers(1, most + 1)]:
            child[position] = int(draw.integers(0, search.size))
        return tuple(child)
