import functools

import pytest

from rlprompt.core.ledger import Budget
from rlprompt.lm.causal import CausalLM
from rlprompt.run.config import RunConfig
from rlprompt.run.optimize import optimize
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


@pytest.fixture(scope="session")
def run(lm, task, tmp_path_factory):
    """Folder of a run that learned a prompt for the task."""
    out = tmp_path_factory.mktemp("run") / "run"
    values = {"lm": "smollm2", "agent": "random", "budget": 600, "length": 2, "out": out}
    optimize(RunConfig(**values, vocabulary_size=50), task=task, lm=lm)
    return out


@pytest.fixture
def problem(lm, task):
    """Makes the problem of a fresh ledger."""

    def make(budget=100_000):
        return Problem(lm, task, Budget(budget))

    return make
