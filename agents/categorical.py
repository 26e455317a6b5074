"""BDPL: a policy gradient on one categorical distribution a position, without a network."""

import math
from dataclasses import dataclass

import numpy as np

from rlprompt.agents.moves import Search
from rlprompt.agents.protocol import Problem
from rlprompt.core.errors import ConfigError
from rlprompt.core.evaluation import FloatArray, IntArray
from rlprompt.core.events import OnEvent


def draw(probabilities: FloatArray, count: int, generator: np.random.Generator) -> IntArray:
    """Draws prompts (count, length) from one distribution a position, (length, n_tokens)."""
    bounds = probabilities.cumsum(axis=1)
    # Scaled by the sum, which is 1 only up to rounding: no draw lies past the last token.
    uniform = generator.random((count, len(bounds))) * bounds[:, -1]
    columns = [np.searchsorted(b, u, side="right") for b, u in zip(bounds, uniform.T, strict=True)]
    return np.stack(columns, axis=1)


def policy_gradient(probabilities: FloatArray, prompts: IntArray, losses: FloatArray) -> FloatArray:
    r"""Returns BDPL's variance-reduced estimate of the gradient of the mean loss.

    .. math:: g_i = \frac{1}{I - 1} \sum_k (L_k - \bar L)\, \nabla_{p_i} \log P(t^k_i), \qquad
              \nabla_{p_{ij}} \log P(t^k_i) = \pm \frac{1}{p_{ij}}, \; +\text{ where } t^k_i = j

    (Diao et al. 2023, section 3; the minus stands for what the other tokens must give up.) The
    :math:`L_k - \bar L` sum to 0, so the two signs come down to twice the plus:

    .. math:: g_{ij} = \frac{2}{(I - 1)\, p_{ij}} \sum_{k:\, t^k_i = j} (L_k - \bar L).

    So a token that was not sampled has exactly 0, also where its probability is 0.

    Args:
        probabilities: shape (length, n_tokens).
        prompts: samples from them, shape (I, length), I of 2 or more.
        losses: shape (I,).

    Returns:
        Shape (length, n_tokens).
    """
    count, length = prompts.shape
    sums = np.zeros_like(probabilities)
    np.add.at(sums, (np.arange(length), prompts), (losses - losses.mean())[:, None])
    gradient: FloatArray = np.zeros_like(sums)
    np.divide(2 * sums, (count - 1) * probabilities, out=gradient, where=probabilities > 0)
    return gradient


def project_to_simplex(rows: FloatArray) -> FloatArray:
    """Returns the nearest probability distribution to each row.

    BDPL's code bisects for the threshold; here it is exact (Duchi et al., ICML 2008, figure 1).

    Args:
        rows: any numbers, shape (n, n_tokens).
    """
    falling = -np.sort(-rows, axis=1)
    thresholds = (falling.cumsum(axis=1) - 1) / np.arange(1, rows.shape[1] + 1)
    last = (falling > thresholds).sum(axis=1, keepdims=True) - 1
    nearest: FloatArray = np.maximum(rows - np.take_along_axis(thresholds, last, axis=1), 0.0)
    return nearest


@dataclass(frozen=True)
class Categorical:
    """BDPL (Diao et al., TMLR 2023, arXiv:2201.08531): learns which token each position wants.

    Every position has a distribution of its own over the action vocabulary, uniform at first. Each
    step samples prompts, scores them, and moves the probabilities against the gradient of
    :func:`policy_gradient`, clipped, and back onto the simplex. Nothing is learned of one token
    from another, nor of a position from another: the control for agents with a network.

    What differs from the paper and its code (github.com/shizhediao/Black-Box-Prompt-Learning):

    - The reward, negated, is the loss, on all of train at once: with 16 shots the paper's batch of
      128 is all of train as well. It is standardized within a batch of prompts, since here it
      varies by hundredths, and the clipping norm would never be met.
    - Gradient steps, no AdamW with a step of 1e-4 or so: 8,000 LM calls are 400 steps, a budget of
      some hundred prompts is 20 or 30. The clipping norm is the code's.
    - The candidates are the action vocabulary, not 50 (GPT-3) or 200 (RoBERTa) n-grams of high
      pointwise mutual information in train. On vocabularies of thousands most tokens are never
      sampled: expect little where single tokens matter and embeddings cannot help.
    - It restarts when it has collapsed, and the best prompt is the best one seen, not the most
      probable token of each position.

    Attributes:
        batch_size: prompts sampled a step; the code's default.
        learning_rate: step size in probability. 0.04 to 0.1 did about equally well on planted
            tasks of 360 to 640 prompts; below, the budget ends before anything is learned.
        max_gradient_norm: a longer gradient is shortened to this; the code's value.
        patience: batches in a row without a new prompt after which the distributions are uniform
            again.
    """

    batch_size: int = 20
    learning_rate: float = 0.08
    max_gradient_norm: float = 3.0
    patience: int = 3

    def __post_init__(self) -> None:
        """Refuses settings that cannot be meant.

        Raises:
            ConfigError: with the setting and its range.
        """
        if self.batch_size < 2:
            raise ConfigError(
                f"batch_size must be 2 or more, not {self.batch_size}: the baseline is the mean."
            )
        if self.patience < 1:
            raise ConfigError(f"patience must be 1 or more, not {self.patience}.")
        for name in ("learning_rate", "max_gradient_norm"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be positive, not {getattr(self, name)}.")

    def optimize(self, problem: Problem, *, seed: int, on_event: OnEvent) -> None:
        """Learns until the budget is spent, anew after each collapse."""
        search = Search(problem, seed=seed, on_event=on_event)
        # Uniform distributions that draw nothing new have nothing to learn: the space is tiny.
        while self._descend(search):
            pass
        search.climb()

    def step(self, probabilities: FloatArray, prompts: IntArray, losses: FloatArray) -> FloatArray:
        """Returns the next distributions; arguments as for :func:`policy_gradient`."""
        spread = losses.std(ddof=1)
        gradient = policy_gradient(probabilities, prompts, losses / spread if spread else losses)
        norm = float(np.linalg.norm(gradient))
        shorter = min(1.0, self.max_gradient_norm / norm) if norm else 1.0
        return project_to_simplex(probabilities - self.learning_rate * shorter * gradient)

    def _descend(self, search: Search) -> bool:
        """Learns from uniform to collapsed; returns whether anything new was scored."""
        probabilities = np.full((search.length, search.size), 1 / search.size)
        stale, news = 0, False
        while stale < self.patience:
            prompts = draw(probabilities, self.batch_size, search.generator)
            batch = [tuple(row) for row in prompts.tolist()]
            new = sum(search.is_new(actions) for actions in set(batch))
            news = news or new > 0
            stale = 0 if new else stale + 1
            metrics = {
                "new": new / len(batch),
                "max_probability": float(probabilities.max(axis=1).mean()),
            }
            losses = np.array([-scored.reward for scored in search.score(batch, metrics)])
            probabilities = self.step(probabilities, prompts, losses)
        return news
