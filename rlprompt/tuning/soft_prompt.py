"""Soft prompts: embeddings that stand where a text prompt would (Lester et al. 2021, sec. 2).

    The Power of Scale for Parameter-Efficient Prompt Tuning, arXiv:2104.08691

The LM is frozen; the trained numbers are the ``length x width`` of the prompt alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from rlprompt.core.errors import ConfigError, suggest
from rlprompt.core.evaluation import FloatArray
from rlprompt.core.events import OnEvent
from rlprompt.core.prompt import Prompt
from rlprompt.lm.gradients import looked_up
from rlprompt.tasks.examples import Example
from rlprompt.tasks.template import Template
from rlprompt.tasks.tokenization import prompt_of
from rlprompt.tasks.vocabulary import build_vocabulary
from rlprompt.tuning import checkpoint
from rlprompt.tuning.protocol import Problem, Traits, check_family
from rlprompt.tuning.text import best_manual
from rlprompt.tuning.training import Training, TrainingConfig, bind, scores

INITS: Final = ("text", "vocab", "labels", "random")
#: Half the width of the uniform distribution of ``init = "random"``, as in the paper.
SPREAD: Final = 0.5
#: Most frequent words that ``init = "vocab"`` samples from, as in the paper.
FREQUENT: Final = 5000


class SoftRows:
    """A soft prompt in a template. Implements :class:`rlprompt.tuning.training.Trainable`."""

    model: torch.nn.Module | None = None
    prompt = Prompt()

    def __init__(self, template: Template, rows: torch.Tensor) -> None:
        """Starts from rows of shape (length, width)."""
        self.template = template
        self._rows = torch.nn.Parameter(rows.detach().clone())

    def parameters(self) -> Mapping[str, torch.nn.Parameter]:
        """The prompt itself."""
        return {"prompt": self._rows}

    def soft(self) -> torch.Tensor:
        """The prompt, shape (length, width)."""
        return self._rows


@dataclass(frozen=True, eq=False)
class TunedSoftPrompt:
    """A trained soft prompt. Implements :class:`rlprompt.tuning.protocol.Tuned`.

    Attributes:
        problem: what it was trained on.
        rows: the prompt in its template.
        start: the prompt before training, shape (length, width).
        history: a row for each look at dev.
    """

    problem: Problem
    rows: SoftRows
    start: torch.Tensor
    history: Sequence[Mapping[str, Any]]

    @property
    def n_parameters(self) -> int:
        """Length times width."""
        return self.rows.soft().numel()

    def choice_logprobs(self, examples: Sequence[Example]) -> FloatArray:
        """See :meth:`rlprompt.tuning.protocol.Tuned.choice_logprobs`."""
        return scores(self.rows, bind(self.problem, self.rows, examples))

    def save(self, folder: Path) -> None:
        """Writes the prompt and what it was trained for."""
        facts = {
            "template": self.rows.template.source,
            "answer_prefix": self.rows.template.answer_prefix,
            "words": [list(words) for words in self.problem.task.verbalizer.words],
            "lm": self.problem.lm.identity.fingerprint,
        }
        checkpoint.save(folder / "soft_prompt.safetensors", self.rows.parameters(), facts)


@dataclass(frozen=True)
class SoftPrompt:
    """Trains a soft prompt by gradient descent. Implements :class:`rlprompt.tuning.Tuner`.

    Attributes:
        length: rows of the prompt; 0 for as many as the init text has tokens.
        init: what the rows begin as: 'text', embeddings of a text, repeated or cut to the length;
            'vocab', those of sampled frequent words; 'labels', those of the label words, then of
            sampled words; 'random', uniform numbers.
        text: text for ``init = "text"``, e.g. a learned prompt; '' for whichever of the task's
            manual prompts is likeliest on dev.
        template: in place of the task's, e.g. to put the prompt before the input; '' for the
            task's own.
        learning_rates: tried one after the other; dev decides.
        steps: most updates of each.
        batch_size: train examples an update.
        accumulate: forwards that an update's examples are dealt to.
        optimizer: 'adamw' or 'adafactor'.
        warm_up: updates in which the learning rate rises.
        evaluate_every: updates between two looks at dev.
        patience: looks without a better one, after which a learning rate is given up.
    """

    length: int = 5
    init: str = "text"
    text: str = ""
    template: str = ""
    learning_rates: tuple[float, ...] = (3e-3, 1e-2, 3e-2)
    steps: int = 60
    batch_size: int = 8
    accumulate: int = 1
    optimizer: str = "adamw"
    warm_up: int = 5
    evaluate_every: int = 5
    patience: int = 4

    def __post_init__(self) -> None:
        """Refuses settings that cannot be meant.

        Raises:
            ConfigError: with what to write instead.
        """
        if type(self.length) is not int or self.length < 0:
            raise ConfigError(f"length must be 0 or more rows, not {self.length!r}.")
        if self.init not in INITS:
            raise ConfigError(
                f"Unknown init {self.init!r}.{suggest(str(self.init), INITS)} "
                f"Known: {', '.join(INITS)}."
            )
        if self.text and not self.text.strip():
            raise ConfigError("The init text is nothing but white space: write a few words.")
        if self.text and self.init != "text":
            raise ConfigError(f"init = {self.init!r} takes no text: leave it out.")
        if not self.length and self.init != "text":
            raise ConfigError(f"init = {self.init!r} needs a length of 1 or more.")
        self.training  # noqa: B018 - refuses its part of the settings

    @property
    def training(self) -> TrainingConfig:
        """The settings of the training itself."""
        return TrainingConfig(
            learning_rates=self.learning_rates,
            steps=self.steps,
            batch_size=self.batch_size,
            accumulate=self.accumulate,
            optimizer=self.optimizer,
            warm_up=self.warm_up,
            evaluate_every=self.evaluate_every,
            patience=self.patience,
        )

    @property
    def traits(self) -> Traits:
        """What sets it apart."""
        return Traits(True, False, False, ("causal", "masked", "seq2seq"))

    def tune(
        self, problem: Problem, *, seed: int, on_event: OnEvent, work: Path | None
    ) -> TunedSoftPrompt:
        """See :meth:`rlprompt.tuning.protocol.Tuner.tune`."""
        check_family("soft-prompt", self.traits, problem.lm)
        task = problem.task
        template = Template(self.template or task.template.source, task.template.answer_prefix)
        start = self._start(problem, template, seed)
        training = Training(
            problem,
            lambda: SoftRows(template, start),
            self.training,
            seed=seed,
            on_event=on_event,
            work=work,
            name="soft-prompt",
        )
        rows = training.run()
        assert isinstance(rows, SoftRows)
        return TunedSoftPrompt(problem, rows, start, training.progress.history or [])

    def _start(self, problem: Problem, template: Template, seed: int) -> torch.Tensor:
        """Returns the rows before training, shape (length, width)."""
        generator = np.random.default_rng([seed, 1])
        if self.init == "random":
            like = looked_up(problem.lm.model, [0])
            rows = generator.uniform(-SPREAD, SPREAD, (self.length, like.shape[1]))
            return torch.as_tensor(rows, dtype=torch.float32, device=like.device)
        if self.init == "text":
            ids = self._text_ids(problem, template)
            chosen = [ids[n % len(ids)] for n in range(self.length or len(ids))]
        else:
            chosen = self._words(problem, template, generator)
        return looked_up(problem.lm.model, chosen)

    def _words(
        self, problem: Problem, template: Template, generator: np.random.Generator
    ) -> list[int]:
        """Returns tokens of label words, if these are asked for, then of sampled frequent words."""
        tokenizer, verbalizer = problem.lm.tokenizer, problem.task.verbalizer
        language = problem.task.language
        vocabulary = build_vocabulary(
            tokenizer, verbalizer, template, size=FREQUENT, language=language
        )
        words = [tokenizer.encode(template.answer_prefix + word) for word in verbalizer.flat]
        first = [token for word in words for token in word] if self.init == "labels" else []
        rest = generator.choice(vocabulary.token_ids, max(0, self.length - len(first)))
        return [*first[: self.length], *rest.tolist()]

    def _text_ids(self, problem: Problem, template: Template) -> tuple[int, ...]:
        """Returns the tokens of the init text.

        Raises:
            ConfigError: there is none.
        """
        if self.text:
            return prompt_of(problem.lm.tokenizer, template, self.text).ids
        if not problem.task.manual_prompts:
            raise ConfigError(
                f"The task {problem.task.name!r} has no manual prompts to begin from: give a "
                "text, or init = 'vocab'."
            )
        return best_manual(problem, template).ids
