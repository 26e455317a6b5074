"""Many learned prompts on one frozen LM: every text gets the prompt of its task."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from rlprompt.core.errors import ConfigError, RunError, suggest
from rlprompt.core.evaluation import calibrate
from rlprompt.core.prompt import Prompt
from rlprompt.core.result import Result
from rlprompt.lm.bundles import bundle
from rlprompt.lm.gradients import Row, RowScorer, answers
from rlprompt.lm.protocol import FrozenLM, GradientLM
from rlprompt.run.predictor import Prediction, fields_of
from rlprompt.tasks.examples import Example
from rlprompt.tasks.template import Template
from rlprompt.tasks.tokenization import prompt_of
from rlprompt.tasks.verbalizer import Verbalizer
from rlprompt.tuning import checkpoint
from rlprompt.tuning.protocol import check_lm
from rlprompt.tuning.rows import FILE, TENSOR

#: Tokens a forward, padding included: as many as keep a processor's products busy.
BATCH_TOKENS = 1024
#: Tokens of padding a forward: more costs more than another forward does.
MOST_PADDING = 64


@dataclass(frozen=True, eq=False)
class Learned:
    """What was learned for a task.

    Attributes:
        template: where input, prompt and answer stand.
        labels: the labels.
        words: words of each label.
        calibration: bias of each label, in nats; empty for none.
        text: the learned prompt, if it is a text.
        soft: the learned prompt, if it is a soft one, shape (length, width).
    """

    template: Template
    labels: tuple[str, ...]
    words: Mapping[str, Sequence[str]]
    calibration: Mapping[str, float] = field(default_factory=dict)
    text: str = ""
    soft: torch.Tensor | None = None

    def __post_init__(self) -> None:
        """Refuses two prompts at once, and a bias of labels that there are not.

        Raises:
            ConfigError: with what to write instead.
        """
        if self.text and self.soft is not None:
            raise ConfigError("A task has one prompt: give its text or a soft prompt, not both.")
        if self.calibration and set(self.calibration) != set(self.labels):
            raise ConfigError(
                f"The calibration is of {', '.join(self.calibration)} and the labels are "
                f"{', '.join(self.labels)}: give a bias for each label, or none."
            )

    @classmethod
    def of(cls, result: Result) -> "Learned":
        """Takes the learned prompt of a finished run."""
        found = result.main.found
        return cls(
            Template(**result.template),
            tuple(result.task["labels"]),
            result.verbalizer,
            found.calibration,
            found.prompt.text,
        )

    @classmethod
    def load_soft(
        cls,
        folder: Path | str,
        lm: FrozenLM,
        *,
        calibration: Mapping[str, float] | None = None,
        force: bool = False,
    ) -> "Learned":
        """Reads a soft prompt that a tuner saved.

        Args:
            folder: where ``save`` put it, or a comparison's folder of the run.
            lm: the LM that it is for.
            calibration: bias of each label; None for none.
            force: whether another LM will do.

        Raises:
            RunError: there is none, it is damaged, or it was trained for another LM.
        """
        path = Path(folder) / FILE
        found = checkpoint.load(path, "copy it anew from where it was written")
        if found is None:
            raise RunError(f"There is no soft prompt at {path}.")
        tensors, facts = found
        if not force:
            check_lm(path, facts, lm)
        labels = tuple(facts["labels"])
        return cls(
            Template(facts["template"], facts["answer_prefix"]),
            labels,
            dict(zip(labels, facts["words"], strict=True)),
            calibration or {},
            soft=tensors[TENSOR],
        )

    @property
    def bias(self) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
        """The calibration in the order of the labels."""
        return np.asarray([self.calibration.get(label, 0.0) for label in self.labels])


class MultiTaskPredictor:
    """Several tasks' prompts, text or soft, on one loaded LM.

    One LM serves any number of tasks, since what was learned is so small; a batch may mix them (as
    in Lester et al. 2021, arXiv:2104.08691, sec. 1). Predictions are those of one task at a time.
    """

    def __init__(self, lm: FrozenLM, tasks: Mapping[str, Learned]) -> None:
        """Keeps LM and prompts.

        Args:
            lm: the LM that all of them were learned for.
            tasks: what was learned, by the name of the task.

        Raises:
            ConfigError: there is no task, or a soft prompt is of another width than the LM.
        """
        if not tasks:
            raise ConfigError("There is no task: give one or more, by name.")
        self._lm = cast(GradientLM, lm)
        self._tokenizer = lm.tokenizer
        self.tasks = dict(tasks)
        width = lm.embeddings([0]).shape[1]
        for name, task in self.tasks.items():
            if task.soft is not None and task.soft.shape[1:] != (width,):
                raise ConfigError(
                    f"The soft prompt of {name!r} has rows of {tuple(task.soft.shape[1:])}, the LM "
                    f"reads rows of {width}: it was trained for another LM."
                )

    def predict(self, texts: Sequence[tuple[str, str | Mapping[str, str]]]) -> list[Prediction]:
        """Labels texts of any of the tasks.

        Args:
            texts: name of the task and the text, or a mapping from input field to text.

        Returns:
            One prediction a text, in order.

        Raises:
            ConfigError: there is no such task.
            TemplateError: a text lacks an input field.
        """
        for name, _ in texts:
            if name not in self.tasks:
                raise ConfigError(
                    f"There is no task {name!r}.{suggest(name, self.tasks)} "
                    f"There are: {', '.join(self.tasks)}."
                )
        found: list[Prediction | None] = [None] * len(texts)
        asked = {
            name: [n for n, (own, _) in enumerate(texts) if own == name]
            for name in dict.fromkeys(name for name, _ in texts)
        }
        scorers = {
            name: self._bound(name, [texts[n][1] for n in places]) for name, places in asked.items()
        }
        for name, logprobs in self._logprobs(scorers).items():
            task = self.tasks[name]
            for n, row in zip(asked[name], np.exp(calibrate(logprobs, task.bias)), strict=True):
                probabilities = dict(zip(task.labels, map(float, row), strict=True))
                found[n] = Prediction(task.labels[int(row.argmax())], probabilities)
        return [each for each in found if each is not None]

    def _bound(self, name: str, texts: Sequence[str | Mapping[str, str]]) -> RowScorer:
        task = self.tasks[name]
        prompt = prompt_of(self._tokenizer, task.template, task.text)
        scorer = self._lm.bind_gradients(
            task.template,
            Verbalizer.of(task.labels, task.words),
            [Example(fields_of(task.template, text), 0) for text in texts],
            prompt=Prompt() if task.soft is not None else prompt,
            soft_tokens=0 if task.soft is None else len(task.soft),
            model=None,
        )
        if not isinstance(scorer, RowScorer):
            raise ConfigError(f"{type(self._lm).__name__} cannot mix tasks in a batch.")
        return scorer

    @torch.inference_mode()
    def _logprobs(self, scorers: Mapping[str, RowScorer]) -> dict[str, Any]:
        """Scores all texts, whatever their task, in batches of about equal lengths."""
        rows: list[Row] = []
        softs: list[torch.Tensor | None] = []
        owners: list[str] = []
        for name, scorer in scorers.items():
            soft = self.tasks[name].soft
            own = scorer.asked(range(scorer.n_examples), soft)
            rows += own
            softs += [soft] * len(own)
            owners += [name] * len(own)
        together = all(scorer.reads_bundles() for scorer in scorers.values())
        bundles = bundle(rows, softs, together=together, most=BATCH_TOKENS)
        forward = next(iter(scorers.values())).forward if scorers else None
        found: dict[int, torch.Tensor] = {}
        for batch in _batches([len(each.ids) for each in bundles]):
            assert forward is not None
            asked = [bundles[n] for n in batch]
            read = answers(self._lm.model, asked, [each.soft for each in asked], forward)
            for each, its in zip(asked, read, strict=True):
                found |= each.of_members(its, rows)
        return {
            name: scorer.read([found[n] for n, owner in enumerate(owners) if owner == name])
            .double()
            .cpu()
            .numpy()
            for name, scorer in scorers.items()
        }


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Deals rows to batches, short ones first, so that padding is short."""
    batch: list[int] = []
    for n in sorted(range(len(lengths)), key=lambda n: lengths[n]):
        padding = sum(lengths[n] - lengths[m] for m in batch)
        if batch and (padding > MOST_PADDING or lengths[n] * (len(batch) + 1) > BATCH_TOKENS):
            yield batch
            batch = []
        batch.append(n)
    if batch:
        yield batch
