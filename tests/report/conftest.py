"""Trials that nothing was run for."""

from dataclasses import replace

import numpy as np
import pytest

from rlprompt.core.trials import Setting, Trial, Tuning

SEARCHES = (
    *("ppo", "soft-q", "categorical", "random", "genetic", "greedy", "beam"),
    *("hill-climbing", "bayesian", "best-of-n", "single-token"),
)
FIXED = ("empty", "manual", "in-context")


def make_trials(
    gains=None,
    *,
    tasks=("sst-2",),
    splits=(13, 21, 42, 87, 100),
    seeds=(0,),
    budgets=(30_000,),
    methods=("ppo", "genetic", "random"),
    fixed=("empty", "manual"),
    n=200,
    noise=0.1,
    shared=True,
):
    """Returns trials in which ``gains`` (nats, by method) are what methods truly differ by."""
    trials = []
    for t, task in enumerate(tasks):
        for split in splits:
            items = np.random.default_rng([t, 0 if shared else split]).normal(-0.5, 0.3, n)
            for m, method in enumerate([*methods, *fixed]):
                for budget in budgets if method in methods else (0,):
                    for seed in seeds if method in methods else (0,):
                        generator = np.random.default_rng([t, split, m, budget, seed])
                        gain = (gains or {}).get(method, 0.0)
                        values = items + gain + generator.normal(0, noise, n)
                        trace = sorted(generator.uniform(-1.2, -0.3 + gain, 12))
                        steps = np.geomspace(32, 0.9 * max(budget, 64), 12)
                        trials.append(
                            Trial(
                                Setting(task, split, method, seed, budget),
                                f" {method} | says: it was\n{split}",
                                (values > -0.7).astype(float),
                                values,
                                test_hash=f"{task}" if shared else f"{task}-{split}",
                                dev_accuracy=0.7,
                                dev_log_likelihood=-0.6,
                                train_reward=trace[-1],
                                forwards=budget,
                                trace=tuple(
                                    (int(step), float(reward))
                                    for step, reward in zip(steps, trace, strict=True)
                                )
                                if budget
                                else (),
                            )
                        )
    return trials


def tuned(trials, *names):
    """Returns the same trials, those of some methods as if these had been tuned."""
    return [
        replace(
            trial,
            prompt="(5 x 8 numbers)",
            trace=(),
            seconds=2.5,
            tuning=Tuning(40, 1_234, gradients=True, readable=False, other_lms=False),
        )
        if trial.setting.method in names
        else trial
        for trial in trials
    ]


@pytest.fixture
def as_tuned():
    """The function that makes some methods tuned ones."""
    return tuned


@pytest.fixture
def trials_of():
    """The function that makes trials."""
    return make_trials
