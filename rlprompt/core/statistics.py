"""Intervals for measured scores."""

from dataclasses import dataclass

import numpy as np

from rlprompt.core.evaluation import FloatArray


@dataclass(frozen=True)
class Estimate:
    """A mean over examples with its 95 % interval.

    Attributes:
        value: the mean.
        low: lower end of the interval.
        high: upper end of the interval.
    """

    value: float
    low: float
    high: float


def bootstrap_mean(values: FloatArray, seed: int = 0, resamples: int = 2000) -> Estimate:
    """Returns the mean of ``values`` with its percentile bootstrap interval over examples.

    Efron & Tibshirani (1993), ch. 13. Resampling is done in blocks, so memory stays small for large
    splits.

    Args:
        values: shape (n_examples,).
        seed: seed of the resampling, so that a result repeats.
        resamples: number of bootstrap samples.
    """
    generator = np.random.default_rng(seed)
    n = len(values)
    means = np.empty(resamples)
    for start in range(0, resamples, 100):
        stop = min(start + 100, resamples)
        draws = generator.integers(0, n, size=(stop - start, n))
        means[start:stop] = values[draws].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Estimate(float(values.mean()), float(low), float(high))
