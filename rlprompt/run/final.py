"""The end of a run: baselines, and the one opening of the test split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rlprompt.core.evaluation import Evaluation, FloatArray, fit_calibration, pool
from rlprompt.core.events import Event, OnEvent
from rlprompt.core.ledger import Ledger
from rlprompt.core.prompt import Prompt
from rlprompt.core.result import Candidate, Ensemble, SplitScores
from rlprompt.objective.split_scorer import Question, SplitScorer
from rlprompt.objective.split_scorer import parts as cut
from rlprompt.run.parts import Parts
from rlprompt.run.search import record_of
from rlprompt.tasks.examples import Split

#: Test examples scored at a time: a step of the progress bar, and what a kill can cost.
BLOCK = 100


@dataclass(frozen=True, eq=False)
class Baselines:
    """The prompts nobody learned.

    Attributes:
        empty: the empty prompt.
        manual: the best manual prompt by the run's reward on dev; the empty one if there is none.
        rows: text and dev scores of every manual prompt.
    """

    empty: Prompt
    manual: Prompt
    rows: tuple[dict[str, object], ...]


def baselines(run: Parts, ledger: Ledger) -> Baselines:
    """Scores the manual prompts on train, for their calibration, and on dev, for the choice."""
    empty = Prompt()
    prompts = list(dict.fromkeys([*run.manual, empty]))
    for scorer in (run.train, *run.dev):
        ledger.forwards += len(prompts) * scorer.n_examples
        scorer.logprobs(prompts, ledger)
    on_dev = {p: evaluation_on(run.dev, [p], run.train) for p in prompts}
    ranked = sorted(run.manual, key=lambda p: -run.reward(on_dev[p]))
    rows = tuple(
        {
            "text": record_of(run, p).text,
            "reward": run.reward(on_dev[p]),
            "accuracy": (scores := SplitScores.of(on_dev[p])).accuracy,
            "log_likelihood": scores.log_likelihood,
        }
        for p in ranked
    )
    return Baselines(empty, ranked[0] if ranked else empty, rows)


def evaluation_on(
    scorers: Sequence[SplitScorer], prompts: Sequence[Prompt], train: SplitScorer
) -> Evaluation:
    """Joins scores on the parts of a split, of a prompt or a pool of them, calibrated on train."""
    return Evaluation(
        np.concatenate([known(scorer, prompts) for scorer in scorers]),
        np.concatenate([scorer.gold for scorer in scorers]),
        fit_calibration(known(train, prompts)),
    )


def known(scorer: SplitScorer, prompts: Sequence[Prompt]) -> FloatArray:
    """Returns what was said under prompts that were scored before, pooled if these are several."""
    return pool([scorer.known(prompt) for prompt in prompts])


def open_test(
    run: Parts,
    prompts: Mapping[Question, Sequence[Prompt]],
    ledger: Ledger,
    on_event: OnEvent,
    tuned: int = 0,
) -> tuple[dict[Question, list[SplitScorer]], Split, str]:
    """Opens the test split, once, and scores every prompt that was settled before.

    Args:
        run: the parts of the run.
        prompts: selected prompts and baselines, by what is asked of the LM with them.
        ledger: counts the forwards, which are in nobody's budget.
        on_event: is told after every block.
        tuned: how many tuned methods, which were settled before too, the caller will score.

    Returns:
        For each question scorers that know its prompts on every block; the examples that are
        scored; and why the split was opened.
    """
    asked = {question: list(dict.fromkeys(each)) for question, each in prompts.items()}
    count = sum(map(len, asked.values()))
    scored_too = f" and {tuned} tuned method{'s' * (tuned > 1)}" if tuned else ""
    reason = f"final scores of {count} prompts{scored_too} that were selected on train and dev"
    test = run.task.test.open(reason)
    scored = Split(test.name, test.examples[: run.plan.n_test])
    scorers: dict[Question, list[SplitScorer]] = {question: [] for question in asked}
    done = 0
    for block in cut(scored, BLOCK):
        for question, each in asked.items():
            scorer = SplitScorer(run.lm, question, block, run.log)
            # One by one: what stands beside a prompt in a pack must not touch its last digits.
            for prompt in each:
                scorer.logprobs([prompt], ledger)
            scorer.release()
            scorers[question].append(scorer)
        done += count * len(block)
        on_event(Event("test", done, count * len(scored)))
    ledger.forwards += done
    return scorers, scored, reason


def candidate(run: Parts, prompt: Prompt, test: list[SplitScorer]) -> Candidate:
    """Puts together what is known of a prompt on all splits."""
    return Candidate(record_of(run, prompt), *_on_splits(run, [prompt], test))


def ensemble(run: Parts, prompts: Sequence[Prompt], test: list[SplitScorer]) -> Ensemble:
    """Puts together what is known of several prompts' pooled predictions."""
    records = tuple(record_of(run, prompt) for prompt in prompts)
    return Ensemble(records, *_on_splits(run, prompts, test))


def _on_splits(
    run: Parts, prompts: Sequence[Prompt], test: list[SplitScorer]
) -> tuple[dict[str, float], dict[str, SplitScores]]:
    """Returns the calibration by label, and the scores by split."""
    splits: Mapping[str, list[SplitScorer]] = {"train": [run.train], "dev": run.dev, "test": test}
    found = {name: evaluation_on(scorers, prompts, run.train) for name, scorers in splits.items()}
    bias = dict(zip(run.task.labels, map(float, found["train"].bias), strict=True))
    return bias, {
        name: SplitScores.of(each, intervals=name == "test") for name, each in found.items()
    }
