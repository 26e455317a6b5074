"""Racing: a prompt is scored on part of train first, and on the rest only if it may be good.

The examples are dealt into *heats*. After each but the last a prompt is compared, on the examples
seen so far, with one of the best prompts known (a paired comparison: the same examples). Where it
is worse by more than chance allows, the rest is not spent on it. After Maron & Moore 1994
(Hoeffding races) and Birattari et al. 2002 (F-race, with a paired test), with the bar set by what
is known.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rlprompt.core.errors import ConfigError
from rlprompt.core.evaluation import Evaluation, FloatArray, IntArray
from rlprompt.rewards import Reward
from rlprompt.tasks.examples import Split

#: Most parts that examples are cut into for a standard error; each costs a reward.
GROUPS = 16
#: Most examples of a first heat, where labels are few.
FIRST = 10


@dataclass(frozen=True)
class Racing:
    """How a prompt earns its examples.

    The defaults come from ``benchmarks/racing/simulate.py`` on five runs of 605 random prompts and
    32 examples: a prompt cost 29 % of a full score on average, and the forwards of 50 to 200 full
    scores found better prompts. First heats of a quarter or a half saved less. A margin of 1.5
    costs 42 % and loses the very best prompt in 22 % of the searches in place of 38 %, which comes
    out ahead only in long ones, since that prompt has close seconds; 0.5 drops half of the 8 best.

    That was on 32 examples, where the first heat is 4 of them. A prompt that is far behind shows it
    on as few of many, so :func:`doubling` keeps the first heat small where train is large: of 256
    examples, 27 % for a prompt in place of 35 % with a first heat of an eighth.

    Attributes:
        shares: of the train examples in each heat; they add up to 1. None for :func:`doubling`.
        rival: a prompt must hold its own against the prompt of this rank among those scored on all
            examples; until there are as many, nothing is dropped.
        margin: standard errors of the difference in reward by which it may be worse.
    """

    shares: tuple[float, ...] | None = None
    rival: int = 8
    margin: float = 1.0

    def __post_init__(self) -> None:
        """Refuses heats that cannot be dealt.

        Raises:
            ConfigError: with the range.
        """
        shares = self.shares
        if shares is not None and (
            len(shares) < 2 or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6
        ):
            raise ConfigError(
                f"shares must be two or more positive numbers that add up to 1, not {shares}."
            )
        if self.rival < 1:
            raise ConfigError(f"rival must be 1 or more, not {self.rival}.")
        if not 0 <= self.margin < math.inf:
            raise ConfigError(f"margin must be 0 or more, not {self.margin}.")


def doubling(gold: Sequence[int]) -> tuple[float, ...]:
    """Returns the shares of heats of which each is as large as all before it together.

    The first is an eighth, or the half, quarter, ... of that which brings it down to
    :data:`FIRST` examples, or to two of each label where these are more.

    Args:
        gold: label of each example.

    >>> doubling([0, 1] * 16)  # 4 of 32 examples
    (0.125, 0.125, 0.25, 0.5)
    >>> [round(share * 256) for share in doubling([0, 1] * 128)]
    [8, 8, 16, 32, 64, 128]
    """
    first = max(FIRST, 2 * len(set(gold)))
    halvings = 3
    while len(gold) > first * 2**halvings:
        halvings += 1
    return (0.5**halvings, *(0.5**n for n in range(halvings, 0, -1)))


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
    shares = racing.shares or doubling(split.gold)
    return [
        (Split(split.name, tuple(split.examples[i] for i in indices)), indices)
        for indices in deal(split.gold, shares)
    ]


def hopeless(
    field: Sequence[Evaluation],
    rival: Evaluation,
    reward: Reward,
    margin: float,
    ahead: Sequence[float] | None = None,
) -> list[bool]:
    r"""Whether prompts are worse than a rival on the same examples by more than a margin.

    With :math:`d` the difference of their rewards, hopeless means :math:`d + m\, s_d < 0`, where
    :math:`s_d` is its standard error by the jackknife (Efron & Stein 1981; groups of examples are
    left out in turn): for a mean over examples that of paired differences, and good for rewards
    that are no such mean. Where a reward is not finite on some of the examples, nobody is hopeless.

    Args:
        field: the prompts' evaluations on n examples.
        rival: the rival's on the same examples.
        reward: what the search is for.
        margin: m.
        ahead: what each prompt has more than the rival whatever the examples; None for nothing.
    """
    groups = min(len(rival.gold), GROUPS)
    if groups < 2:
        return [False] * len(field)
    theirs = _jackknife(rival, reward, groups)
    found = []
    for each, lead in zip(field, ahead or [0.0] * len(field), strict=True):
        ours = _jackknife(each, reward, groups)
        if not np.isfinite([ours, theirs]).all():
            found.append(False)
            continue
        difference = ours - theirs
        error = math.sqrt((groups - 1) * float(difference[1:].var()))
        found.append(float(difference[0]) + lead + margin * error < 0)
    return found


def _jackknife(evaluation: Evaluation, reward: Reward, groups: int) -> FloatArray:
    """Returns the reward on all examples, then without each group; shape (1 + groups,)."""
    group = np.arange(len(evaluation.gold)) % groups
    kept = [np.ones(len(group), bool), *(group != n for n in range(groups))]
    return np.array([reward(Evaluation(evaluation.logprobs[k], evaluation.gold[k])) for k in kept])
