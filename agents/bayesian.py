"""Genetic proposals screened by a Gaussian process on the LM's embedding rows."""

import math
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from rlprompt.agents.moves import Actions, Search
from rlprompt.agents.protocol import Problem
from rlprompt.core.errors import ConfigError
from rlprompt.core.events import OnEvent


@dataclass(frozen=True)
class Bayesian:
    r"""Lets a model of the reward choose which of many children the LM scores.

    After ``initial`` random prompts, each step fits a Gaussian process (see
    :class:`~rlprompt.agents.screening.Surrogate`) to what was scored so far, breeds ``proposals``
    children of the best prompts, and has the LM score the ``batch_size`` unseen ones with the
    greatest upper confidence bound (GP-UCB, Srinivas et al. 2010, arXiv:0912.3995)

    .. math:: p = \arg\max_p \mu(p) + \beta^{1/2} \sigma(p),

    with ``exploration`` for :math:`\beta^{1/2}`. What differs from the paper: there :math:`\beta`
    grows with the step and one point of a fixed set is chosen at a time; here it is constant, a
    batch is the top of one ranking, and the candidates are bred from an elite, since no ranking of
    all prompts is to be had. So the paper's bound on the regret does not hold.

    The process learns from prompts of full length only: prefixes come free with some LMs, but
    nearly triple the points, and the cost of a fit is cubic. Where no new child is left it goes on
    as :meth:`~rlprompt.agents.moves.Search.climb`.

    Attributes:
        batch_size: prompts scored in one LM call.
        initial: random prompts at the start: two batches, for a first guess at length scales.
        exploration: standard deviations added to the mean. 0 to 1 did equally well on planted
            tasks of 500 tokens and 320 prompts, 1 and 2 better than less on 2,000 tokens.
        proposals: children bred a step; predicting one takes about 0.05 ms.
        elites: parents, the best prompts so far (as many as the genetic search keeps).
        crossover: share of the children with two parents.
        most_mutations: 1 to this many tokens of each child are drawn anew.
        embedding_width: directions of the embedding rows that the model sees.
        most_points: the process is fitted to this many prompts at most, the best half and the
            newest others; the cost is cubic in it.
    """

    batch_size: int = 16
    initial: int = 32
    exploration: float = 1.0
    proposals: int = 1500
    elites: int = 12
    crossover: float = 0.5
    most_mutations: int = 2
    embedding_width: int = 32
    most_points: int = 400

    def __post_init__(self) -> None:
        """Refuses settings that cannot be meant.

        Raises:
            ConfigError: with the setting and its range, or with the package that is missing.
        """
        if find_spec("sklearn") is None:
            raise ConfigError(
                "The agent 'bayesian' needs the package scikit-learn: "
                "pip install 'rlprompt[search]'."
            )
        for name in (
            "batch_size",
            "initial",
            "proposals",
            "elites",
            "most_mutations",
            "embedding_width",
        ):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be 1 or more, not {getattr(self, name)}.")
        if self.most_points < 2:
            raise ConfigError(f"most_points must be 2 or more, not {self.most_points}.")
        if not 0 <= self.exploration < math.inf:
            raise ConfigError(f"exploration must be 0 or more, not {self.exploration}.")
        if not 0 <= self.crossover <= 1:
            raise ConfigError(f"crossover must lie in [0, 1], not {self.crossover}.")

    def optimize(self, problem: Problem, *, seed: int, on_event: OnEvent) -> None:
        """Fits, breeds and scores until the budget is spent."""
        from rlprompt.agents.screening import Surrogate, token_features, vary

        search = Search(problem, seed=seed, on_event=on_event, batch_size=self.batch_size)
        rows = problem.lm.embeddings(problem.vocabulary.token_ids)
        features = token_features(rows, self.embedding_width)
        surrogate = Surrogate(features, search.length, most_points=self.most_points)
        known = {
            actions: scored.reward
            for actions, scored in search.score_all(search.random_prompts(self.initial))
        }
        while True:
            prompts, rewards = np.array([*known]), np.array([*known.values()])
            surrogate.fit(prompts, rewards)
            children = vary(
                prompts[np.argsort(-rewards, kind="stable")[: self.elites]],
                self.proposals,
                search.size,
                search.generator,
                crossover=self.crossover,
                most_mutations=self.most_mutations,
            )
            mean, deviation = surrogate.predict(children)
            ranking = np.argsort(-(mean + self.exploration * deviation), kind="stable")
            chosen: list[int] = []
            batch: list[Actions] = []
            for n in ranking.tolist():
                child = tuple(children[n].tolist())
                if search.is_new(child):
                    chosen.append(n)
                    batch.append(child)
                    if len(batch) == self.batch_size:
                        break
            if not batch:
                search.climb()
            metrics = {
                "predicted_reward": float(mean[chosen].mean()),
                "predicted_deviation": float(deviation[chosen].mean()),
            }
            for child, scored in zip(batch, search.score(batch, metrics), strict=True):
                known[child] = scored.reward
