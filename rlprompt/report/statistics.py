"""Intervals, paired tests and ranks of methods that were scored on the same test items.

Split seeds are few-shot draws; items are test examples. Two splits of one task usually share their
test items (crossed, not nested), which every function here takes into account.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeAlias

import numpy as np

from rlprompt.core.errors import RunError
from rlprompt.core.evaluation import FloatArray, IntArray

RESAMPLES = 2_000
FLIPS = 10_000
ALPHA = 0.05
BLOCK = 200  # resamples held in memory at once


@dataclass(frozen=True, eq=False)
class SplitScores:
    """One method on one split, averaged over agent seeds.

    Attributes:
        items: hash of the test items; equal hashes mean the same items in the same order.
        values: score on each item, shape (n_items,).
    """

    items: str
    values: FloatArray


Scores: TypeAlias = Mapping[int, SplitScores]  # one method on one task, by split seed


@dataclass(frozen=True)
class Interval:
    """A mean over splits of means over items, with its 95 % interval.

    Attributes:
        value: the mean.
        low: lower end.
        high: upper end.
        splits: number of splits. With 1 the interval is over items only and says nothing about
            other few-shot draws.
    """

    value: float
    low: float
    high: float
    splits: int


@dataclass(frozen=True)
class Difference:
    """What one method scores more than another on the splits that both have.

    Attributes:
        interval: the mean difference and its 95 % interval, over items and splits.
        p: two-sided, of the sign-flip test over items, in (0, 1].
        items: number of distinct items that the test flips.
    """

    interval: Interval
    p: float
    items: int


def interval(scores: Scores, *, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """Returns the mean over splits of the mean over items with a 95 % percentile interval.

    A hierarchical bootstrap (Davison & Hinkley 1997, sec. 3.8; percentiles after Efron & Tibshirani
    1993, ch. 13): items are resampled with replacement, then splits. Splits that share their items
    get the same resampled items (the crossed form: Owen 2007, "The pigeonhole bootstrap"); drawing
    them anew in each split would average away item noise that the splits have in common.

    Where splits differ much, a percentile bootstrap of few of them is too narrow: 5 splits whose
    effects outweigh the noise of the items are covered in about 84 of 100 cases, not 95.

    Args:
        scores: one method, by split seed; at least one split.
        seed: seed of the resampling, so that a result repeats.
        resamples: number of bootstrap samples.
    """
    return intervals({"": scores}, seed=seed, resamples=resamples)[""]


def intervals(
    methods: Mapping[str, Scores], *, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Interval]:
    """Returns what :func:`interval` does for each method, resampling once for all that it can."""
    alike: dict[tuple[int, ...], list[str]] = {}
    for name, scores in methods.items():
        alike.setdefault(tuple(sorted(scores)), []).append(name)
    found: dict[str, Interval] = {}
    for seeds, names in alike.items():
        splits = [_stack([methods[name][split] for name in names], split) for split in seeds]
        means = bootstrap_means(splits, seed=seed, resamples=resamples)
        values = np.mean([scores.mean(axis=1) for _, scores in splits], axis=0)
        for i, name in enumerate(names):
            found[name] = _percentiles(float(values[i]), means[:, i], len(seeds))
    return {name: found[name] for name in methods}


def paired(
    one: Scores, other: Scores, *, seed: int = 0, resamples: int = RESAMPLES, flips: int = FLIPS
) -> Difference | None:
    """Returns the difference ``one - other`` on the splits that both have; None if there is none.

    Two questions are answered. The p-value asks whether these very prompts differ on *new items*:
    the signs of the per-item differences (averaged over seeds, and over splits with the same items)
    are flipped at random (Efron & Tibshirani 1993, ch. 15). The interval speaks about *new splits*
    as well, that is about the methods: see :func:`interval`.

    Args:
        one: one method, by split seed.
        other: another method on the same task and budget.
        seed: seed of both resamplings.
        resamples: number of bootstrap samples.
        flips: number of sign flips; the smallest possible p is ``1 / (flips + 1)``.
    """
    found = pairwise({"one": one, "other": other}, seed=seed, resamples=resamples, flips=flips)
    return found.get(("one", "other"))


def pairwise(
    methods: Mapping[str, Scores],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    flips: int = FLIPS,
) -> dict[tuple[str, str], Difference]:
    """Compares all pairs of methods as :func:`paired` does; leaves out those with no common split.

    Both statistics are linear in the scores, so each resample is computed once for a method and
    subtracted for a pair.
    """
    alike: dict[tuple[int, ...], list[tuple[str, str]]] = {}
    for one, other in combinations(methods, 2):
        common = tuple(sorted(methods[one].keys() & methods[other].keys()))
        if common:
            alike.setdefault(common, []).append((one, other))
    found: dict[tuple[str, str], Difference] = {}
    for common, pairs in alike.items():
        names = [name for name in methods if any(name in pair for pair in pairs)]
        index = np.array([[names.index(name) for name in pair] for pair in pairs])
        splits = [_stack([methods[name][split] for name in names], split) for split in common]
        means = bootstrap_means(splits, seed=seed, resamples=resamples)
        shares = item_shares(splits)
        p_values = sign_flip_p_values(shares, index, seed=seed, flips=flips)
        totals = shares.sum(axis=1)
        for pair, (i, j), p in zip(pairs, index, p_values, strict=True):
            spread = _percentiles(
                float(totals[i] - totals[j]), means[:, i] - means[:, j], len(common)
            )
            found[pair] = Difference(spread, float(p), shares.shape[1])
    return {pair: found[pair] for pair in combinations(methods, 2) if pair in found}


def bootstrap_means(
    splits: Sequence[tuple[str, FloatArray]], *, seed: int = 0, resamples: int = RESAMPLES
) -> FloatArray:
    """Resamples items, then splits, the same for all methods.

    Args:
        splits: hash of the items and scores, shape (n_methods, n_items), of each split.
        seed: seed of the resampling.
        resamples: number of bootstrap samples.

    Returns:
        Mean over splits of means over items, shape (resamples, n_methods).
    """
    generator = np.random.default_rng(seed)
    n = len(splits)
    result = np.empty((resamples, len(splits[0][1])))
    for rows in _blocks(resamples, BLOCK):
        drawn: dict[str, FloatArray] = {}
        means = np.empty((len(rows), n, result.shape[1]))
        for i, (items, values) in enumerate(splits):
            if items not in drawn:
                drawn[items] = _counts(generator, len(rows), values.shape[1])
            means[:, i] = drawn[items] @ values.T / values.shape[1]
        weights = _counts(generator, len(rows), n) / n
        result[rows] = np.einsum("rs,rsm->rm", weights, means)
    return result


def item_shares(splits: Sequence[tuple[str, FloatArray]]) -> FloatArray:
    """Returns what each distinct item adds to each method's mean over splits.

    Splits with equal hashes share their items, which are added up; others are concatenated.

    Args:
        splits: hash of the items and scores, shape (n_methods, n_items), of each split.

    Returns:
        Shape (n_methods, n_distinct_items); a row adds up to the mean over splits of the means.
    """
    shares: dict[str, FloatArray] = {}
    for items, values in splits:
        shares[items] = shares.get(items, 0.0) + values / (values.shape[1] * len(splits))
    return np.concatenate([*shares.values()], axis=1)


def sign_flip_p_values(
    shares: FloatArray, pairs: IntArray, *, seed: int = 0, flips: int = FLIPS
) -> FloatArray:
    """Tests for each pair whether the sum of its differences could be chance.

    If two methods are alike, each item's difference is as likely to be positive as negative (Efron
    & Tibshirani 1993, ch. 15). The observed signs count as one of the flips, so no p is 0.

    Args:
        shares: of :func:`item_shares`, shape (n_methods, n_items).
        pairs: rows to compare, shape (n_pairs, 2).
        seed: seed of the flips.
        flips: number of random sign vectors.

    Returns:
        Two-sided p-values, shape (n_pairs,).
    """
    generator = np.random.default_rng(seed)
    one, other = pairs[:, 0], pairs[:, 1]
    totals = shares.sum(axis=1)
    # Equal sums must count as equal although they were added up in another order.
    observed = np.abs(totals[one] - totals[other]) - 1e-10 * np.abs(shares).sum(axis=1).max()
    reached = np.zeros(len(pairs))
    for rows in _blocks(flips, BLOCK):
        signs = 2.0 * generator.integers(0, 2, (len(rows), shares.shape[1]), dtype=np.int8) - 1.0
        sums = signs @ shares.T
        reached += (np.abs(sums[:, one] - sums[:, other]) >= observed).sum(axis=0)
    return (reached + 1.0) / (flips + 1.0)


def holm(p_values: Sequence[float] | FloatArray) -> FloatArray:
    """Adjusts p-values of one family by Holm's step-down method (Holm 1979).

    The i-th smallest of m is multiplied by m - i + 1; none may be below a smaller one's; at most 1.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03]).tolist()]
    [0.03, 0.06, 0.06]

    Args:
        p_values: shape (n_tests,), in any order.

    Returns:
        Adjusted p-values in the order given, shape (n_tests,).
    """
    raw = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(raw, kind="stable")
    stepped = np.maximum.accumulate(raw[order] * (len(raw) - np.arange(len(raw))))
    adjusted = np.empty_like(raw)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def is_significant(adjusted_p: float, difference: Interval) -> bool:
    """Whether a difference holds on new items (p) and on new splits (the interval leaves out 0)."""
    return adjusted_p < ALPHA and not difference.low <= 0.0 <= difference.high


def mean_ranks(cells: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Returns each method's mean rank over the cells it is in; 1 is best, ties are averaged.

    A method is ranked among those present: where one failed, the others rank a little better.

    Args:
        cells: score of each method, higher is better, for each (task, split, budget).
    """
    from scipy.stats import rankdata

    ranks: dict[str, list[float]] = {}
    for cell in cells:
        values = rankdata([-score for score in cell.values()], method="average")
        for method, rank in zip(cell, values, strict=True):
            ranks.setdefault(method, []).append(float(rank))
    return {method: float(np.mean(found)) for method, found in ranks.items()}


def forwards_to_reach(trace: Sequence[tuple[int, float]], reward: float) -> int | None:
    """Returns the LM forwards at which the best reward so far first was ``reward``; None if never.

    >>> forwards_to_reach([(32, -0.9), (96, -0.5), (640, -0.4)], -0.5)
    96

    Args:
        trace: (LM forwards, best reward so far), oldest first.
        reward: to reach; less by rounding (an average of equal numbers) will do.
    """
    enough = reward - 1e-12 * abs(reward)
    return next((forwards for forwards, best in trace if best >= enough), None)


def _stack(methods: Sequence[SplitScores], split: int) -> tuple[str, FloatArray]:
    """Returns the common items of a split and the scores, shape (n_methods, n_items)."""
    hashes = {scores.items for scores in methods}
    if len(hashes) > 1:
        raise RunError(
            f"The methods on split {split} were scored on different test items "
            f"({', '.join(sorted(hashes))}) and cannot be compared item by item."
        )
    return methods[0].items, np.stack([scores.values for scores in methods])


def _percentiles(value: float, samples: FloatArray, splits: int) -> Interval:
    """Returns a value with the middle 95 % of its bootstrap samples, shape (resamples,)."""
    low, high = np.quantile(samples, [ALPHA / 2, 1 - ALPHA / 2])
    return Interval(value, float(low), float(high), splits)


def _counts(generator: np.random.Generator, rows: int, n: int) -> FloatArray:
    """Returns how often each of n things is in each of ``rows`` resamples, shape (rows, n)."""
    draws = generator.integers(0, n, (rows, n)) + n * np.arange(rows)[:, None]
    return np.bincount(draws.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)


def _blocks(total: int, size: int) -> Iterator[range]:
    """Yields consecutive ranges of at most ``size`` that cover ``range(total)``."""
    for start in range(0, total, size):
        yield range(start, min(start + size, total))
