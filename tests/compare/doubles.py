"""Agents, tuners and rewards that do what they should not.

They are named by import path, ``doubles:Raises``.
"""

import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rlprompt.core.errors import ConfigError
from rlprompt.core.prompt import Prompt
from rlprompt.rewards.functions import calibrated_log_likelihood
from rlprompt.tuning.protocol import Traits

#: Seeds of the searches that ``Counted`` was asked for.
CALLS = []
#: Sizes of the evaluations that ``sizes`` was asked to reward.
SIZES = set()
#: What ``Snoop`` found: texts, shapes of arrays, names of classes.
FOUND = {"texts": set(), "shapes": set(), "classes": set()}


def forget():
    CALLS.clear()
    SIZES.clear()
    FOUND.update(texts=set(), shapes=set(), classes=set())


def score_some(problem, count=4):
    problem.objective.evaluate([problem.prompt([n]) for n in range(count)])


@dataclass(frozen=True)
class Raises:
    """Raises in the middle of its search."""

    def optimize(self, problem, *, seed, on_event):
        score_some(problem)
        raise ValueError("the world\nmodel collapsed")


@dataclass(frozen=True)
class Flaky:
    """Raises until a file exists."""

    until: str = ""

    def optimize(self, problem, *, seed, on_event):
        score_some(problem)
        if not Path(self.until).exists():
            raise OSError("a passing cloud")


@dataclass(frozen=True)
class Merges:
    """Scores one prompt of two pieces that are one word in its text, and a word."""

    def optimize(self, problem, *, seed, on_event):
        ids = problem.lm.tokenizer.hf.convert_tokens_to_ids(["the", "##y", "film"])
        problem.objective.evaluate([Prompt(tuple(ids))])


@dataclass(frozen=True)
class Idle:
    """Scores no prompt."""

    def optimize(self, problem, *, seed, on_event):
        return


@dataclass(frozen=True)
class Counted:
    """Says that it was asked."""

    batch_size: int = 4

    def optimize(self, problem, *, seed, on_event):
        CALLS.append(seed)
        score_some(problem, self.batch_size)


@dataclass(frozen=True)
class Snoop:
    """Looks at everything that can be reached from its problem by public names."""

    def optimize(self, problem, *, seed, on_event):
        score_some(problem)
        look(problem)


@dataclass(frozen=True)
class Peeks:
    """A tuner that opens the test split."""

    traits = Traits(gradients=False, readable=False, other_lms=False, families=("causal",))

    def tune(self, problem, *, seed, on_event, work):
        problem.task.test.open("a look")


@dataclass(frozen=True)
class Looks:
    """A tuner that looks at everything that can be reached from its problem by public names."""

    traits = Peeks.traits

    def tune(self, problem, *, seed, on_event, work):
        CALLS.append(seed)
        look(problem)
        raise ConfigError("That was all.")


@dataclass(frozen=True)
class Diverges:
    """A tuner whose history holds what JSON lacks."""

    traits = Peeks.traits

    def tune(self, problem, *, seed, on_event, work):
        problem.ledger.charge(1, problem.budget)
        return Untrained(problem)


@dataclass(frozen=True, eq=False)
class Untrained:
    """What nothing was learned in: the same log-probabilities for every input."""

    problem: object
    n_parameters = 3
    history = ({"dev_log_likelihood": float("nan"), "dev_accuracy": np.float32(0.5)},)

    def choice_logprobs(self, examples):
        return np.log(np.full((len(examples), 2), 0.5))

    def save(self, folder):
        (folder / "nothing.json").write_text("{}", encoding="utf-8")


@dataclass(frozen=True)
class Collapses:
    """A tuner that raises."""

    traits = Peeks.traits

    def tune(self, problem, *, seed, on_event, work):
        raise FloatingPointError("the loss\nis infinite")


def look(start):
    """Walks public attributes and containers, and notes what is there."""
    seen, waiting = {}, [start]
    while waiting:
        value = waiting.pop()
        if id(value) in seen or isinstance(value, type | int | float | bytes | None):
            continue
        seen[id(value)] = value  # kept, so that nothing else gets its id
        FOUND["classes"].add(type(value).__name__)
        if isinstance(value, str):
            FOUND["texts"].add(value)
        elif isinstance(value, np.ndarray):
            FOUND["shapes"].add(value.shape)
        elif isinstance(value, Mapping):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple | set | frozenset):
            waiting += value
        if type(value).__module__.startswith(("rlprompt.", "transformers.", "torch.nn.modules")):
            waiting += public(value)


def public(value):
    """Returns the values of the public attributes that have one."""
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in dir(value):
            if not name.startswith("_"):
                with suppress(Exception):
                    found.append(getattr(value, name))
    return found


def sizes(evaluation):
    """Rewards as usual, and says how many examples it was shown."""
    SIZES.add(len(evaluation.gold))
    return calibrated_log_likelihood(evaluation)


def broken(evaluation):
    raise ZeroDivisionError("no such thing")


def no_task(seed, shots):
    raise KeyError("no such column")
