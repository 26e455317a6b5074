"""Intervals and tests of many paired differences at once: what each of 3,000 words changes."""

import numpy as np

from rlprompt.core.evaluation import FloatArray

RESAMPLES = 2_000
FLIPS = 10_000
BLOCK = 500  # words, or flips, held in memory at once


def bootstrap_intervals(
    differences: FloatArray, *, seed: int = 0, resamples: int = RESAMPLES
) -> FloatArray:
    """Returns 95 % percentile intervals of means over examples (Efron & Tibshirani 1993, ch. 13).

    Every row meets the same resampled examples. Each interval holds for a row named beforehand; for
    the best of many rows it is too optimistic, which :func:`family_wise_p` is there to mend.

    Args:
        differences: paired differences, shape (n_rows, n_examples).
        seed: seed of the resampling, so that a result repeats.
        resamples: number of bootstrap samples.

    Returns:
        Lower and upper ends, shape (n_rows, 2).
    """
    n = differences.shape[1]
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)
    weights = counts / n
    ends = np.empty((len(differences), 2))
    for start in range(0, len(differences), BLOCK):
        means = weights @ differences[start : start + BLOCK].T
        ends[start : start + BLOCK] = np.quantile(means, [0.025, 0.975], axis=0).T
    return ends


def family_wise_p(differences: FloatArray, *, seed: int = 0, flips: int = FLIPS) -> FloatArray:
    r"""Tests every row's mean against 0, two-sided, and pays for how many rows there are.

    The single-step max-statistic test (Westfall & Young 1993, sec. 2.3): the signs of examples are
    flipped, the same ones in all rows, so that rows keep what they have in common, and a row's
    statistic :math:`|\sum_i d_i| / \sqrt{\sum_i d_i^2}` is held against the largest of all rows
    under each flip. If no row had any effect, some row would have a value of 0.05 or less in about
    5 % of all cases. With few examples this keeps its word where a bootstrap of the maximum does
    not: the root does not change under flips, so nothing has to be estimated.

    Args:
        differences: paired differences, shape (n_rows, n_examples).
        seed: seed of the flips.
        flips: number of random flips.

    Returns:
        Values in (0, 1], shape (n_rows,); those of rows of zeros are 1.
    """
    n = differences.shape[1]
    norms = np.sqrt((differences**2).sum(axis=1, keepdims=True))
    scaled = np.divide(differences, norms, out=np.zeros_like(differences), where=norms > 0)
    generator = np.random.default_rng(seed)
    largest = np.empty(flips)
    for start in range(0, flips, BLOCK):
        stop = min(start + BLOCK, flips)
        signs = generator.integers(0, 2, size=(stop - start, n)) * 2.0 - 1.0
        largest[start:stop] = np.abs(signs @ scaled.T).max(axis=1)
    largest.sort()
    # Few examples have few distinct flips, and equal values must not differ by a rounding.
    seen = flips - np.searchsorted(largest, np.abs(scaled.sum(axis=1)) - 1e-9)
    return np.asarray((1 + seen) / (1 + flips))
