"""Choosing among many proposals with a model of what was scored so far.

An LM scores some prompts a second; the Gaussian process here predicts thousands. It needs
scikit-learn, so this module is imported where a search begins.
"""

import math
import warnings
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from rlprompt.core.evaluation import FloatArray, IntArray

#: Points for the choice of hyper-parameters, which costs the cube of this many times.
TUNING_POINTS = 200
#: Steps of L-BFGS-B; the likelihood is flat near its optimum.
TUNING_STEPS = 15

Bounds: TypeAlias = NDArray[np.float64]


def token_features(embeddings: FloatArray, width: int) -> FloatArray:
    """Returns embedding rows in their main directions, all of variance 1.

    Args:
        embeddings: shape (n_tokens, model width).
        width: directions kept, at most what the rows span.

    Returns:
        Shape (n_tokens, min(width, rank)); one column at least.
    """
    centred = embeddings - embeddings.mean(axis=0)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    rank = max(1, min(width, int((singular > singular[0] * 1e-6).sum())))
    # Unit columns of n rows with mean 0; the signs that SVD leaves open matter to no distance.
    rows: FloatArray = left[:, :rank] * math.sqrt(len(left))
    return rows


def vary(
    elite: IntArray,
    count: int,
    size: int,
    generator: np.random.Generator,
    *,
    crossover: float = 0.5,
    most_mutations: int = 2,
) -> IntArray:
    """Returns distinct children of an elite by uniform crossover and mutation.

    Args:
        elite: parents, equally likely, shape (n_parents, length).
        count: children drawn, before equal ones are merged.
        size: number of actions.
        generator: source of randomness.
        crossover: share of the children that take each token from either of two parents.
        most_mutations: 1 to this many positions of each child get a uniform token.

    Returns:
        Shape (at most count, length), in lexicographic order.
    """
    length = elite.shape[1]
    one, other = elite[generator.integers(0, len(elite), (2, count))]
    crossed = generator.random((count, 1)) < crossover
    children = np.where(crossed & (generator.random((count, length)) < 0.5), other, one)
    mutations = generator.integers(1, most_mutations + 1, (count, 1))
    order = generator.random((count, length)).argsort(axis=1)
    tokens = generator.integers(0, size, (count, length))
    return np.unique(np.where(order < mutations, tokens, children), axis=0)


class _SlicedRBF(RBF):  # type: ignore[misc]
    """A radial basis function of some of the columns."""

    def __init__(
        self,
        length_scale: float = 1.0,
        length_scale_bounds: tuple[float, float] = (1e-1, 1e2),
        start: int = 0,
        stop: int | None = None,
    ) -> None:
        """Takes columns ``start`` to ``stop``, the latter left out."""
        super().__init__(length_scale, length_scale_bounds)
        self.start = start
        self.stop = stop

    def __call__(
        self,
        X: FloatArray,  # noqa: N803 - scikit-learn's names
        Y: FloatArray | None = None,  # noqa: N803
        eval_gradient: bool = False,
    ) -> Any:
        """Returns the kernel, and its gradient if asked."""
        columns = slice(self.start, self.stop)
        other = None if Y is None else Y[:, columns]
        return super().__call__(X[:, columns], other, eval_gradient)


class Surrogate:
    r"""A Gaussian process over prompts of one length (Rasmussen and Williams 2006, algorithm 2.1).

    .. math:: k(p, q) = a \exp\frac{-\sum_t |e_{p_t} - e_{q_t}|^2}{2 l^2 L}
              + b \exp\frac{-|\bar e_p - \bar e_q|^2}{2 m^2} + c\,[p = q]

    with the features :math:`e` of :func:`token_features` over the root of their number: the first
    part knows which token stands where, the second only which tokens there are. An LM is
    deterministic, so :math:`c` is no noise but what only this prompt has, and counts as
    uncertainty where a prompt was not scored. The hyper-parameters maximize the marginal
    likelihood, looked for anew whenever there are twice as many points.
    """

    def __init__(self, features: FloatArray, length: int, *, most_points: int = 400) -> None:
        """Makes a model that knows nothing.

        Args:
            features: shape (n_tokens, width).
            length: tokens of a prompt.
            most_points: fitted to the best half of this many, and the newest others.
        """
        self._features = features / math.sqrt(features.shape[1])
        self._most_points = most_points
        split = length * features.shape[1]
        # A feature's squared distance is 2 on average, so length scales are near 1.
        wide = (1e-1, 1e2)
        self._kernel = (
            ConstantKernel(0.5, (1e-3, 1e2)) * _SlicedRBF(1.0, wide, 0, split)
            + ConstantKernel(0.5, (1e-3, 1e2)) * _SlicedRBF(1.0, wide, split, None)
            + WhiteKernel(0.1, (1e-4, 1.0))
        )
        self._tuned_at = 0
        self._process = GaussianProcessRegressor()

    def fit(self, prompts: IntArray, rewards: FloatArray) -> None:
        """Fits prompts (n, length) in the order in which they were scored, and rewards (n,)."""
        if len(prompts) >= 2 * self._tuned_at:
            self._tuned_at = len(prompts)
            few = self._choose(rewards, TUNING_POINTS)
            tuned = self._fitted(prompts[few], rewards[few], _maximize)
            self._kernel = tuned.kernel_
        kept = self._choose(rewards, self._most_points)
        self._process = self._fitted(prompts[kept], rewards[kept], None)

    def predict(self, prompts: IntArray) -> tuple[FloatArray, FloatArray]:
        """Returns mean and standard deviation of the rewards of prompts (n, length), each (n,)."""
        mean, deviation = self._process.predict(self._inputs(prompts), return_std=True)
        return mean, deviation

    def _fitted(self, prompts: IntArray, rewards: FloatArray, optimizer: Any) -> Any:
        process = GaussianProcessRegressor(self._kernel, optimizer=optimizer, normalize_y=True)
        with warnings.catch_warnings():
            # "close to the bound": the bounds are there to be met where a part has nothing to say.
            warnings.simplefilter("ignore", ConvergenceWarning)
            return process.fit(self._inputs(prompts), rewards)

    def _inputs(self, prompts: IntArray) -> FloatArray:
        """Returns each position's features, over sqrt(length), then their mean."""
        rows = self._features[prompts]
        each = rows.reshape(len(rows), -1) / math.sqrt(prompts.shape[1])
        return np.concatenate([each, rows.mean(axis=1)], axis=1)

    def _choose(self, rewards: FloatArray, most: int) -> IntArray:
        """Returns the indices of the best half of ``most``, and of the newest others."""
        best = np.argsort(-rewards, kind="stable")
        keep = np.zeros(len(rewards), bool)
        keep[best[: most // 2]] = True
        others = np.flatnonzero(~keep)
        keep[others[max(0, len(others) - (most - most // 2)) :]] = True
        return np.flatnonzero(keep)


def _maximize(objective: Any, start: FloatArray, bounds: Bounds) -> tuple[FloatArray, float]:
    """Minimizes sklearn's negative likelihood in few steps; going on would change little."""
    found = minimize(
        objective,
        start,
        method="L-BFGS-B",
        jac=True,
        bounds=bounds,
        options={"maxiter": TUNING_STEPS},
    )
    return found.x, float(found.fun)
