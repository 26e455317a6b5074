"""The rewards that come with the package."""

import numpy as np

from rlprompt.core.evaluation import Evaluation, correct, gold_logprobs

#: Weights of wrong and right examples,
#: by Deng et al. 2022 (arXiv:2205.12548), section 3.1.
WRONG_WEIGHT = 180.0
RIGHT_WEIGHT = 200.0


def calibrated_log_likelihood(evaluation: Evaluation) -> float:
    """Mean log-probability of the right label after calibration; range (-inf, 0], in nats.

    Most of what separates hand-written prompts is a bias towards one label; calibration takes it
    out, so the search spends itself on what a prompt adds beside it.
    """
    return float(gold_logprobs(evaluation.calibrated, evaluation.gold).mean())


def calibrated_probability(evaluation: Evaluation) -> float:
    """Mean probability of the right label after calibration; range [0, 1].

    What a classifier that draws its label from the calibrated distribution gets right. A confident
    mistake costs no more than 1, where the log-likelihood's price has no bound, so with few
    examples one of them cannot decide, and the best of many prompts is more often a good one.
    """
    return float(np.exp(gold_logprobs(evaluation.calibrated, evaluation.gold)).mean())


def log_likelihood(evaluation: Evaluation) -> float:
    """Mean log-probability of the right label, uncalibrated; range (-inf, 0], in nats."""
    return float(gold_logprobs(evaluation.logprobs, evaluation.gold).mean())


def accuracy(evaluation: Evaluation) -> float:
    """Share of examples whose likeliest label is right after calibration; range [0, 1]."""
    return float(correct(evaluation.calibrated, evaluation.gold).mean())


def piecewise_gap(evaluation: Evaluation) -> float:
    """RLPrompt's reward: mean over examples of ``180^(1-c) * 200^c * gap``, uncalibrated.

    ``gap = P(right) - max P(wrong)`` and ``c`` is 1 where the gap is positive (Deng et al. 2022,
    arXiv:2205.12548, section 3.1). Range [-180, 200].
    """
    probabilities = np.exp(evaluation.logprobs)
    rows = np.arange(len(evaluation.gold))
    right = probabilities[rows, evaluation.gold]
    others = probabilities.copy()
    others[rows, evaluation.gold] = -np.inf
    gap = right - others.max(axis=1)
    return float((np.where(gap > 0, RIGHT_WEIGHT, WRONG_WEIGHT) * gap).mean())
