"""Which of a search's prompts is the one: a race of its best on train and dev together."""

from dataclasses import dataclass

import numpy as np

from rlprompt.core.archive import Archive
from rlprompt.core.errors import ConfigError
from rlprompt.core.evaluation import Evaluation, fit_calibration
from rlprompt.core.ledger import Budget, Ledger
from rlprompt.core.prompt import Prompt
from rlprompt.objective.fluency import Fluency
from rlprompt.objective.split_scorer import SplitScorer
from rlprompt.rewards import Reward

#: Share of a run's budget that selection may take.
MAX_SHARE = 0.1
#: Candidates of a race where the budget allows as many, and those kept for its second round.
CANDIDATES = 32
KEEP = 4


@dataclass(frozen=True)
class RacePlan:
    """How many prompts each round of a race scores.

    Attributes:
        sizes: examples of each round.
        entrants: prompts of each round.
    """

    sizes: tuple[int, ...]
    entrants: tuple[int, ...]

    @property
    def cost(self) -> int:
        """LM forwards of the race, at most."""
        return sum(size * n for size, n in zip(self.sizes, self.entrants, strict=True))


def plan_race(budget: Budget, n_train: int, dev_sizes: tuple[int, ...]) -> RacePlan:
    """Plans a race that takes at most a tenth of the budget, and one prompt at least.

    Args:
        budget: of the whole run, search and selection.
        n_train: train examples.
        dev_sizes: examples of each part of dev, one a round.

    Raises:
        ConfigError: the budget does not cover one prompt on train and dev.
    """
    least = n_train + sum(dev_sizes)
    if budget.forwards < least:
        raise ConfigError(
            f"A budget of {budget.forwards} LM forwards is too small for one prompt: it takes "
            f"{n_train} on train and {sum(dev_sizes)} on dev. Allow at least {least}; a search "
            f"worth the name starts near {20 * least}."
        )
    for first in range(CANDIDATES, 0, -1):
        entrants = tuple(max(1, -(-first // KEEP**n)) for n in range(len(dev_sizes)))
        plan = RacePlan(dev_sizes, entrants)
        if plan.cost <= MAX_SHARE * budget.forwards:
            return plan
    return RacePlan(dev_sizes, tuple(1 for _ in dev_sizes))


@dataclass(frozen=True, eq=False)
class Finalist:
    """A prompt of the race's last round.

    Attributes:
        prompt: the prompt.
        reward: on train and dev together, calibrated on train, less what its fluency lacks.
        train: its evaluation on train.
        dev: its evaluation on dev, calibrated on train.
        fluency: its mean log-probability a token under the LM, nats; None where it was not read.
    """

    prompt: Prompt
    reward: float
    train: Evaluation
    dev: Evaluation
    fluency: float | None = None


def race(
    archive: Archive,
    train: SplitScorer,
    dev: list[SplitScorer],
    reward: Reward,
    plan: RacePlan,
    ledger: Ledger,
    fluency: Fluency | None = None,
) -> list[Finalist]:
    """Races the archive's best; returns the finalists, the winner first.

    Each round scores the prompts still in the race on one more part of dev and keeps those with the
    best reward on everything seen, train included: with few examples one number is too noisy to
    trust, and a prompt that shines on train alone falls back.

    Args:
        archive: of the search, not empty.
        train: scorer of the train split, which knows every prompt of the archive.
        dev: scorers of the parts of dev, in the order of the plan.
        reward: pure function of an evaluation.
        plan: rounds and entrants.
        ledger: is charged for every prompt and dev example.
        fluency: which read the prompts, and is part of their reward; None to leave it out.
    """
    entrants = [entry.prompt for entry in archive.top(plan.entrants[0])]
    ranked = entrants
    for n, size in enumerate(plan.entrants):
        entrants = ranked[:size]
        ledger.charge(len(entrants) * dev[n].n_examples, Budget(plan.cost))
        dev[n].logprobs(entrants, ledger)
        judged = {
            p: reward(_joined([train, *dev[: n + 1]], p)) + (fluency.bonus(p) if fluency else 0.0)
            for p in entrants
        }
        ranked = sorted(entrants, key=lambda p: -judged[p])
    return [
        Finalist(
            p,
            judged[p],
            _joined([train], p),
            _joined(dev, p, train),
            fluency.of(p) if fluency else None,
        )
        for p in ranked
    ]


def _joined(
    scorers: list[SplitScorer], prompt: Prompt, calibrated_on: SplitScorer | None = None
) -> Evaluation:
    """Joins what is known of a prompt on several splits, calibrated on the first by default."""
    bias = fit_calibration((calibrated_on or scorers[0]).known(prompt))
    return Evaluation(
        np.concatenate([scorer.known(prompt) for scorer in scorers]),
        np.concatenate([scorer.gold for scorer in scorers]),
        bias,
    )
