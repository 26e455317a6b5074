"""What the frozen LM said about the examples of a split under one prompt, and its calibration."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def log_softmax(scores: FloatArray) -> FloatArray:
    """Normalises over the last axis: log of ``exp(s) / sum exp(s)``, any shape."""
    shifted = scores - scores.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def fit_calibration(logprobs: FloatArray) -> FloatArray:
    """Returns each label's mean log-probability, the bias that calibration takes out.

    Batch calibration (Zhou et al. 2023, arXiv:2309.17249, eq. 4) with logits in place of
    probabilities; needs no gold labels, and is meant to be fitted on train alone.

    Args:
        logprobs: shape (n_examples, n_labels).

    Returns:
        Shape (n_labels,), with mean 0.
    """
    bias = logprobs.mean(axis=0)
    return np.asarray(bias - bias.mean())


def calibrate(logprobs: FloatArray, bias: FloatArray) -> FloatArray:
    """Subtracts the bias of each label and normalises again, shape (n_examples, n_labels)."""
    return log_softmax(logprobs - bias)


def pool(each: Sequence[FloatArray]) -> FloatArray:
    """Averages what the LM said under several prompts, and normalises again.

    The logarithmic opinion pool (Genest and Zidek 1986, sec. 3.3): the mean of log-probabilities.
    Calibration is a difference of these, so that the pool of calibrated predictions is the
    calibrated pool.

    Args:
        each: one or more, of shape (n_examples, n_labels).

    Returns:
        The same shape; of one prompt what it is.
    """
    if len(each) == 1:
        return each[0]
    return log_softmax(np.mean(each, axis=0))


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Label log-probabilities and gold labels of a prompt, or a pool of them, on one split.

    Attributes:
        logprobs: shape (n_examples, n_labels), normalised over the labels, uncalibrated.
        gold: shape (n_examples,), index of the right label.
        bias: shape (n_labels,), calibration constants, always fitted on train. Where none are
            given, those of this very evaluation (right for train itself).
    """

    logprobs: FloatArray
    gold: IntArray
    bias: FloatArray = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        """Refuses shapes that do not fit together."""
        if self.logprobs.ndim != 2 or self.gold.shape != self.logprobs.shape[:1]:
            raise ValueError(
                f"logprobs {self.logprobs.shape} and gold {self.gold.shape} must be "
                "(n_examples, n_labels) and (n_examples,)."
            )
        if not self.bias.size:
            object.__setattr__(self, "bias", fit_calibration(self.logprobs))

    @property
    def calibrated(self) -> FloatArray:
        """Calibrated label log-probabilities, shape (n_examples, n_labels)."""
        return calibrate(self.logprobs, self.bias)


def gold_logprobs(logprobs: FloatArray, gold: IntArray) -> FloatArray:
    """Returns the log-probability of each example's right label, shape (n_examples,)."""
    return np.asarray(logprobs[np.arange(len(gold)), gold])


def correct(logprobs: FloatArray, gold: IntArray) -> FloatArray:
    """Returns 1.0 where the likeliest label is the right one, else 0.0, shape (n_examples,)."""
    return np.asarray(logprobs.argmax(axis=-1) == gold, dtype=np.float64)
