"""Rewards: pure functions of a finished evaluation, higher is better.

A reward calls no model, prints nothing and keeps no counter. Your own is a function of an
:class:`~rlprompt.core.evaluation.Evaluation` that returns a finite float; name it by import path,
``--reward my_module:my_reward``.
"""

from collections.abc import Callable
from typing import TypeAlias

from rlprompt.core.evaluation import Evaluation
from rlprompt.core.registry import Registry

Reward: TypeAlias = Callable[[Evaluation], float]

REWARDS: Registry[Reward] = Registry("reward")
for _name, _summary in (
    ("calibrated_log_likelihood", "mean log P(right label), label bias taken out (default)"),
    ("calibrated_probability", "mean P(right label), label bias taken out"),
    ("log_likelihood", "mean log P(right label) as the LM gives it"),
    ("accuracy", "share of examples whose likeliest label is right, calibrated"),
    ("piecewise_gap", "RLPrompt's gap to the best wrong label, 180 or 200 fold"),
):
    REWARDS.register(_name, f"rlprompt.rewards.functions:{_name}", _summary)
