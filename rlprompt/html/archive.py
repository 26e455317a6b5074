"""Every prompt that a search scored on all of train, from the run's evaluation log.

The log holds what the LM said; the right labels come from the task, which is made anew. Where it
cannot be, what the result itself names is all there is: improvements and finalists.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rlprompt.core.errors import RLPromptError, RunError
from rlprompt.core.evaluation import Evaluation, correct
from rlprompt.core.hashing import content_hash
from rlprompt.core.prompt import Prompt
from rlprompt.core.result import Result
from rlprompt.objective.evaluation_log import Call, read_calls
from rlprompt.objective.fluency import rows_of
from rlprompt.objective.split_scorer import context_of_reading, halves
from rlprompt.rewards import REWARDS
from rlprompt.run import folder
from rlprompt.run.optimize import task_rows
from rlprompt.run.parts import task_of_result
from rlprompt.tasks.examples import Split
from rlprompt.tasks.task import Task
from rlprompt.tasks.template import Template
from rlprompt.tasks.vocabulary import ActionVocabulary

#: Prompts that a run leaves room for have at most so many tokens; the number itself is not in the
#: result, and names the context of every score.
_MOST_ROOM = 512


@dataclass(frozen=True)
class Row:
    """A scored prompt.

    Attributes:
        text: exact text.
        n_tokens: its length; None where it is not known.
        reward: on train.
        accuracy: on train, calibrated, in [0, 1]; None where it is not known.
        dev: reward on dev, of a finalist; None for others.
        found_at: number of the prompt in the order of scoring, 1 is the first; None if unknown.
        forwards: LM forwards at which it was found, of an improvement; None for others.
        fluency: mean log-probability a token under the LM, nats; None where it was not read.
        own: whether the run's own agent had it scored, not a control or a baseline after it.
    """

    text: str
    n_tokens: int | None
    reward: float
    accuracy: float | None = None
    dev: float | None = None
    found_at: int | None = None
    forwards: int | None = None
    fluency: float | None = None
    own: bool = True

    @property
    def perplexity(self) -> float | None:
        """Perplexity a token; None where the prompt was not read."""
        return None if self.fluency is None else math.exp(-self.fluency)


@dataclass(frozen=True)
class Archive:
    """What was scored.

    Attributes:
        rows: best first, ties by age.
        why: why there are no others than improvements and finalists; '' where all are there.
    """

    rows: tuple[Row, ...]
    why: str = ""

    @property
    def whole(self) -> bool:
        """Whether every prompt is there."""
        return not self.why

    @property
    def in_order(self) -> tuple[Row, ...]:
        """The prompts of the run's own agent in the order they were scored; none if not whole."""
        own = [row for row in self.rows if row.own and row.found_at is not None]
        return tuple(sorted(own, key=lambda row: row.found_at or 0))


def task_of(result: Result, data_root: Path | None) -> Task:
    """Makes a run's task anew.

    Raises:
        RLPromptError: its data are not there, or are not those of the run.
    """
    config = result.config
    task = task_of_result(result, data_root)
    there = {name: split["hash"] for name, split in result.splits.items()}
    if task_rows(task) != (result.template, result.verbalizer, there):
        raise RunError(
            f"The task {config['task']!r} as it is now is not the one of this run (examples, "
            "template or label words differ)."
        )
    return task


def read_archive(run: Path, result: Result, task: Task | str) -> Archive:
    """Reads what a search scored; what the result names where the log does not serve.

    Args:
        run: folder of the run.
        result: its result.
        task: its task, or why there is none.
    """
    try:
        if isinstance(task, str):
            raise RunError(task)
        rows = _from_log(run, result, task)
    except (RLPromptError, OSError, ValueError, KeyError) as error:
        return Archive(_ranked(_named(result)), str(error))
    return Archive(_ranked(rows))


def _ranked(rows: Sequence[Row]) -> tuple[Row, ...]:
    return tuple(sorted(rows, key=lambda row: -row.reward))


def _named(result: Result) -> list[Row]:
    """Returns the finalists and improvements of the run's own agent, each text once."""
    rows = {
        step["text"]: Row(step["text"], None, step["reward"], forwards=step["forwards"])
        for step in result.main.trace
    }
    for final in result.main.finalists:
        at = rows[final["text"]].forwards if final["text"] in rows else None
        rows[final["text"]] = Row(
            final["text"], None, final["train"], dev=final["dev"], forwards=at
        )
    return list(rows.values())


def _from_log(run: Path, result: Result, task: Task) -> list[Row]:
    calls = list(read_calls(run / folder.EVALUATIONS))
    contexts = _Contexts.found_in(calls, result, task)
    train = contexts.of(task.train)
    dev = {contexts.of(half) for half in halves(task.dev)}
    read = context_of_reading(train, rows_of(len(task.train)))
    fluency = {
        prompt: float(values.mean()) / len(prompt)
        for call in calls
        if call.context == read
        for prompt, values in zip(call.prompts, call.scores, strict=True)
    }
    words = _vocabulary(run)
    gold = np.asarray(task.train.gold, np.int64)
    reward = REWARDS.get(result.reward)
    named = {row.text: row for row in _named(result)}
    rows: list[Row] = []
    own = True
    for call in calls:
        # The selection on dev follows the search; what comes after it is not this agent's.
        own = own and call.context not in dev
        if call.context != train:
            continue
        for prompt, scores in zip(call.prompts, call.scores, strict=True):
            text = _text(prompt, task.template, words)
            if text is None:  # a manual prompt, whose words are not those of the search
                continue
            evaluation = Evaluation(scores, gold)
            known = named.get(text) if own else None
            rows.append(
                Row(
                    text,
                    len(prompt),
                    float(reward(evaluation)),
                    float(correct(evaluation.calibrated, gold).mean()),
                    dev=known.dev if known else None,
                    found_at=len(rows) + 1,
                    forwards=known.forwards if known else None,
                    fluency=fluency.get(prompt),
                    own=own,
                )
            )
    return rows


@dataclass(frozen=True)
class _Contexts:
    """Names the context of a split's scores in the log, as ``SplitScorer`` does.

    Attributes:
        shared: fingerprint, template and label words, which are the same for all splits.
        room: tokens of the longest prompt that the run left room for.
    """

    shared: tuple[object, ...]
    room: int

    def of(self, split: Split) -> str:
        """Returns the context of the scores on a split."""
        return content_hash([*self.shared, self.room, split.hash])

    @classmethod
    def found_in(cls, calls: Sequence[Call], result: Result, task: Task) -> "_Contexts":
        """Finds the room that the run left for a prompt: the first that the log knows of."""
        template, words = task.template, task.verbalizer.words
        shared = (result.lm["fingerprint"], template.source, template.answer_prefix, words)
        known = {call.context for call in calls}
        least = int(result.config["length"])
        for room in range(least, least + _MOST_ROOM):
            contexts = cls(shared, room)
            if contexts.of(task.train) in known:
                return contexts
        raise RunError("The evaluation log holds no score on this run's train examples.")


def _vocabulary(run: Path) -> dict[int, str]:
    """Returns the text of each token that a prompt may be made of."""
    value = json.loads((run / folder.VOCABULARY).read_text(encoding="utf-8"))
    vocabulary = ActionVocabulary.from_json(value)
    return dict(zip(vocabulary.token_ids, vocabulary.texts, strict=True))


def _text(prompt: Prompt, template: Template, words: Mapping[int, str]) -> str | None:
    """Returns the text of a prompt; None where a token is none that a search may use."""
    if not all(token in words for token in prompt.ids):
        return None
    parts = prompt.parts(template.sizes)
    return template.text_of(["".join(words[token] for token in part) for part in parts])
