"""What the files of a comparison hold, as JSON values."""

from dataclasses import asdict
from typing import Any, Protocol

import numpy as np

from rlprompt.compare.fixed import Contestant
from rlprompt.core.evaluation import FloatArray, IntArray, calibrate, correct, gold_logprobs
from rlprompt.core.result import Scores, SplitScores
from rlprompt.core.trials import Setting
from rlprompt.objective.split_scorer import SplitScorer
from rlprompt.run.final import known
from rlprompt.run.parts import Parts
from rlprompt.run.search import Outcome, finalist_rows, record_of, settings_of, trace_rows
from rlprompt.tasks.task import Task


def task_record(task: Task) -> dict[str, Any]:
    """Describes a task for the result."""
    return {
        "name": task.name,
        "version": task.version,
        "labels": list(task.labels),
        "template": task.template.source,
        "words": [list(words) for words in task.verbalizer.words],
        "train": {"size": len(task.train), "hash": task.train.hash},
        "dev": {"size": len(task.dev), "hash": task.dev.hash},
        "reports": list(task.reports),
    }


def origin(run: Parts) -> dict[str, Any]:
    """Returns what scores depend on besides the prompt, as JSON values."""
    return {
        "template": [run.task.template.source, run.task.template.answer_prefix],
        "verbalizer": [list(words) for words in run.task.verbalizer.words],
        "train split": run.task.train.hash,
        "dev split": run.task.dev.hash,
        "test split": run.task.test.hash,
        "LM": run.lm.identity.fingerprint,
    }


def run_record(run: Parts, setting: Setting, outcome: Outcome) -> dict[str, Any]:
    """Describes a finished run."""
    best = outcome.winner
    return {
        "setting": asdict(setting),
        "agent": run.config.agent,
        "settings": settings_of(outcome.agent),
        "racing": run.config.racing,
        **members(run, outcome),
        "origin": origin(run),
        "prompt": asdict(record_of(run, best.prompt)),
        "reward": best.reward,
        "train_reward": run.reward(best.train),
        "ended": outcome.ended,
        "ledger": outcome.ledger(),
        "trace": trace_rows(run, outcome.trace),
        "finalists": finalist_rows(run, outcome.finalists),
    }


def members(run: Parts, outcome: Outcome) -> dict[str, Any]:
    """Returns how many prompts are to be averaged, and the texts of those there are."""
    if run.config.ensemble == 1:
        return {}
    best = outcome.best(run.config.ensemble)
    texts = [record_of(run, prompt).text for prompt in best]
    return {"members": run.config.ensemble, "ensemble": texts}


class Settled(Protocol):
    """What was settled on train and dev: a prompt, or something tuned."""

    @property
    def text(self) -> str:
        """The prompt, or what was tuned in a few words."""

    @property
    def bias(self) -> FloatArray:
        """Calibration of each label, shape (n_labels,)."""

    @property
    def train_reward(self) -> float:
        """By the run's reward."""

    @property
    def dev(self) -> Scores | SplitScores:
        """Calibrated scores on dev."""


def test_row(each: Contestant, test: list[SplitScorer]) -> dict[str, Any]:
    """Returns what a contestant did on every test item."""
    logprobs = np.concatenate([known(scorer, each.prompts) for scorer in test])
    gold = np.concatenate([scorer.gold for scorer in test])
    return item_row(each, logprobs, gold, sum(scorer.truncated for scorer in test))


def item_row(
    each: Settled, logprobs: FloatArray, gold: IntArray, truncated: int | None
) -> dict[str, Any]:
    """Returns what was right and how likely on every test item.

    Args:
        each: what was scored.
        logprobs: shape (n_test, n_labels), uncalibrated.
        gold: shape (n_test,).
        truncated: how many inputs were cut; None where that is not known.
    """
    calibrated = calibrate(logprobs, each.bias)
    return {
        "text": each.text,
        "train_reward": each.train_reward,
        "dev_accuracy": each.dev.accuracy,
        "dev_log_likelihood": each.dev.log_likelihood,
        "truncated": truncated,
        "accuracy_uncalibrated": float(correct(logprobs, gold).mean()),
        "correct": "".join(str(int(hit)) for hit in correct(calibrated, gold)),
        "log_likelihood": [round(float(x), 6) for x in gold_logprobs(calibrated, gold)],
    }


def plain(value: Any) -> Any:
    """Returns a scalar as JSON has it: NaN and infinities, which it lacks, are null."""
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
