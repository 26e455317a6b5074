"""What a tuner is.

A tuner is a frozen dataclass of its settings with one method. It is called like this::

    problem = Problem(lm, task, reward, budget, ledger)
    tuned = tuner.tune(problem, seed=seed, on_event=listener, work=folder)
    logprobs = tuned.choice_logprobs(task.dev)  # (n_examples, n_labels)

It learns from train and chooses by dev; it never sees a test example. Like an agent's, its budget
is counted in LM forwards, and a backward counts as two of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from rlprompt.core.errors import ConfigError, RunError
from rlprompt.core.evaluation import Evaluation, FloatArray, fit_calibration
from rlprompt.core.events import OnEvent
from rlprompt.core.ledger import Budget, Ledger
from rlprompt.core.registry import Registry, make_configured
from rlprompt.lm.protocol import FrozenLM, GradientLM
from rlprompt.tasks.examples import Example, Split
from rlprompt.tasks.task import Task
from rlprompt.tasks.template import Template


class TrainableLM(FrozenLM, GradientLM, Protocol):
    """A frozen LM that can be differentiated."""


@dataclass(frozen=True, eq=False)
class Problem:
    """What a tuner works on.

    Attributes:
        lm: the LM, loaded with ``LMConfig(trainable=True)``.
        task: train to learn from, dev to choose by; test stays sealed.
        budget: LM forwards, and twice the backwards, that may be spent.
        ledger: counts them.
    """

    lm: TrainableLM
    task: Task
    budget: Budget
    ledger: Ledger = field(default_factory=Ledger)


@dataclass(frozen=True)
class Traits:
    """What sets a kind of tuner apart in a table.

    Attributes:
        gradients: whether it needs the LM's gradients.
        readable: whether a person can read what it learns.
        other_lms: whether what it learns can be used with another LM.
        families: LM families that it supports.
        whole_inputs: whether each pass runs the whole input, not only what stands from the place of
            the prompt on: then it takes longer.
    """

    gradients: bool
    readable: bool
    other_lms: bool
    families: tuple[str, ...]
    whole_inputs: bool = False


class Tuned(Protocol):
    """What a tuner learned."""

    @property
    def n_parameters(self) -> int:
        """How many numbers were trained."""

    @property
    def history(self) -> Sequence[Mapping[str, Any]]:
        """How it went: one row for each time dev was looked at."""

    def choice_logprobs(self, examples: Sequence[Example]) -> FloatArray:
        """Scores any examples of the task: log-probabilities, shape (n_examples, n_labels)."""

    def save(self, folder: Path) -> None:
        """Writes all that is needed to use it elsewhere: safetensors and JSON only."""


class Tuner(Protocol):
    """Learns numbers, where an agent looks for words."""

    @property
    def traits(self) -> Traits:
        """What sets it apart."""

    def tune(self, problem: Problem, *, seed: int, on_event: OnEvent, work: Path | None) -> Tuned:
        """Spends up to the budget.

        Args:
            problem: LM, task and budget.
            seed: of all its randomness.
            on_event: is told of progress.
            work: folder for checkpoints, from which the same call goes on; None for none.

        Raises:
            ConfigError: the LM's family is not supported, or the budget buys nothing.
        """


TUNERS: Registry[type[Tuner]] = Registry("tuner")
for _name, _target, _summary in (
    ("soft-prompt", "soft_prompt:SoftPrompt", "embeddings in the place of the prompt, by gradient"),
    ("p-tuning", "p_tuning:PTuning", "a soft prompt that a small network writes, by gradient"),
    ("bbt", "bbt:BlackBox", "a soft prompt by CMA-ES in a random subspace, without gradients"),
    ("prefix", "prefix:Prefix", "keys and values before the input in every layer, by gradient"),
    ("lora", "lora:LoRA", "low-rank matrices beside the LM's own, by gradient"),
    ("fine-tune", "fine_tune:FineTune", "all parameters of a copy of the LM, by gradient"),
):
    TUNERS.register(_name, f"rlprompt.tuning.{_target}", _summary)


def make_tuner(name: str, settings: Mapping[str, Any]) -> Tuner:
    """Makes a tuner from its registered name or import path and its settings.

    Raises:
        ConfigError: the name or a setting is unknown, with the nearest one, or a value is refused.
    """
    return cast(Tuner, make_configured(TUNERS, name, settings, method="tune"))


def check_family(name: str, traits: Traits, lm: TrainableLM) -> None:
    """Refuses an LM of a family that a tuner does not support.

    Raises:
        ConfigError: names the families that it does.
    """
    family = lm.identity.family
    if family not in traits.families:
        raise ConfigError(
            f"{name} does not support {family} LMs, only {' and '.join(traits.families)} ones: "
            f"take another tuner ({', '.join(TUNERS)}) or another LM."
        )


def template_of(problem: Problem, source: str) -> Template:
    """Returns where input, prompt and answer stand: as a source says, '' for the task's own."""
    own = problem.task.template
    return Template(source or own.source, own.answer_prefix)


def facts_of(problem: Problem, template: Template) -> dict[str, Any]:
    """Returns what must be known to use what was tuned, as JSON values."""
    return {
        "template": template.source,
        "answer_prefix": template.answer_prefix,
        "labels": list(problem.task.labels),
        "words": [list(words) for words in problem.task.verbalizer.words],
        "lm": problem.lm.identity.fingerprint,
    }


def check_lm(path: Path, facts: Mapping[str, Any], lm: FrozenLM) -> None:
    """Refuses what was trained for another LM.

    Args:
        path: file that it is from.
        facts: what :func:`facts_of` gave when it was saved.
        lm: the LM that it is to be used with.

    Raises:
        RunError: it is another one.
    """
    if facts["lm"] != lm.identity.fingerprint:
        raise RunError(
            f"{path} was trained for another LM ({facts['lm']}) than {lm.identity.name} "
            f"({lm.identity.fingerprint}): its numbers mean nothing there. Name the LM that it was "
            "trained for, or give force=True."
        )


def settle(tuned: Tuned, train: Split, dev: Split) -> FloatArray:
    """Returns the calibration constants that what was tuned is used with, shape (n_labels,).

    They are fitted on train, as for every prompt, and used only if dev is likelier with them: a
    tuner has fitted the labels' balance itself, and train, which it may know by heart, can mislead.
    """
    bias = fit_calibration(tuned.choice_logprobs(tuple(train)))
    logprobs, gold = tuned.choice_logprobs(tuple(dev)), np.asarray(dev.gold)
    likelihoods = [
        float(Evaluation(logprobs, gold, each).calibrated[np.arange(len(gold)), gold].mean())
        for each in (np.zeros_like(bias), bias)
    ]
    return bias if likelihoods[1] > likelihoods[0] else np.zeros_like(bias)
