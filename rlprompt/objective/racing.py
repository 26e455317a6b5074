"""Racing: a prompt is scored on part of train first, and on the rest only if it may be good.

The examples are dealt into *heats*. After each but the last a prompt is compared, on the examples
seen so far, with one of the best prompts known (a paired comparison: the same examples). Where it is
worse by more than chance allows, the rest is not spent on it. After Maron & Moore 1994 (Hoeffding
races) and Birattari et al. 2002 (F-race, with a paired test), with the bar set by what is known.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rlprompt.core.errors import ConfigError
from rlprompt.core.evaluation import Evaluation, IntArray, gold_logprobs
from rlprompt.tasks.examples import Split


@dataclass(frozen=True)
class Racing:
    """How a prompt earns its examples.

    Attributes:
        shares: of the train examples in each heat; they add up to 1.
        rival: a prompt must hold its own against the prompt of this rank among those scored on all
            examples; until there are as many, nothing is dropped.
        margin: standard errors of the mean paired difference by which it may be worse.
    """

    shares: tuple[float, ...] = (0.25, 0.25, 0.5)
    rival: int = 8
    margin: float = 0.5

    def __post_init__(self) -> None:
        """Refuses heats that cannot be dealt.

        Raises:
            ConfigError: with the range.
        """
        if len(self.shares) < 2 or min(self.shares) <= 0 or abs(sum(self.shares) - 1) > 1e-6:
            raise ConfigError(
                f"shares must be two or more positive numbers that add up to 1, not {self.shares}."
            )
        if self.rival < 1:
            raise ConfigError(f"rival must be 1 or more, not {self.rival}.")
        if not 0 <= self.margin < math.inf:
            raise ConfigError(f"margin must be 0 or more, not {self.margin}.")


def deal(gold: Sequence[int], shares: Sequence[float]) -> list[IntArray]:
    """Deals examples into heats, each with about the same share of every label.

    Args:
        gold: label of each example.
        shares: of each heat.

    Returns:
        Indices of the examples of each heat, ascending; a heat that would be empty is left out.

    >>> [h.tolist() for h in deal([0, 0, 0, 0, 1, 1, 1, 1], (0.25, 0.75))]
    [[0, 4], [1, 2, 3, 5, 6, 7]]
    """
    labels = np.asarray(gold)
    rank = np.zeros(len(labels))
    for label in np.unique(labels):
        here = labels == label
        rank[here] = (np.arange(here.sum()) + 0.5) / here.sum()
    order = np.argsort(rank, kind="stable")
    cuts = np.round(np.cumsum(shares)[:-1] * len(labels)).astype(int)
    return [np.sort(part) for part in np.split(order, cuts) if len(part)]


def heats_of(split: Split, racing: Racing) -> list[tuple[Split, IntArray]]:
    """Cuts a split into heats.

    Args:
        split: the train examples.
        racing: the shares.

    Returns:
        Each heat's examples and where these stand in the split.
    """
    return [
        (Split(split.name, tuple(split.examples[i] for i in indices)), indices)
        for indices in deal(split.gold, racing.shares)
    ]


def is_hopeless(one: Evaluation, rival: Evaluation, margin: float) -> bool:
    r"""Whether a prompt is worse than a rival on the same examples by more than a margin.

    With :math:`d_i` the difference of the calibrated log-probabilities of example i's right label,
    hopeless means :math:`\bar d + m\, s_d / \sqrt n < 0`.

    Args:
        one: the prompt's evaluation on n examples.
        rival: the rival's on the same examples.
        margin: m.
    """
    ours, theirs = (gold_logprobs(each.calibrated, each.gold) for each in (one, rival))
    difference = ours - theirs
    n = len(difference)
    error = float(difference.std(ddof=1)) / math.sqrt(n) if n > 1 else math.inf
    return float(difference.mean()) + margin * error < 0 if error < math.inf else False
