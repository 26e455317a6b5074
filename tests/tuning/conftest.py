import functools

import pytest

from rlprompt.core.ledger import Budget
from rlprompt.lm.causal import CausalLM
from rlprompt.tasks.splits import Splits
from rlprompt.tasks.task import Task
from rlprompt.testing import planted_task, tiny_causal
from rlprompt.tuning.protocol import Problem


@functools.cache
def _lm():
    return CausalLM(*tiny_causal("llama"))


@pytest.fixture(scope="session")
def lm():
    return _lm()


@pytest.fixture(scope="session")
def task():
    planted = planted_task(12, 10, 12)
    splits = Splits(planted.train, planted.dev, planted.test)
    return Task.from_splits(
        "films",
        planted.labels,
        splits,
        words={"negative": "bad", "positive": "good"},
        template=planted.template,
        manual_prompts=(" overall", " in short it was"),
    )


@pytest.fixture
def problem(lm, task):
    """Makes the problem of a fresh ledger."""

    def make(budget=100_000):
        return Problem(lm, task, Budget(budget))

    return make
