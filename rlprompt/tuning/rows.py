"""Soft rows: embeddings in the place of the prompt, what they begin as, and their file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from rlprompt.core.errors import ConfigError, suggest
from rlprompt.core.evaluation import FloatArray
from rlprompt.core.prompt import Prompt
from rlprompt.core.result import Result
from rlprompt.lm.gradients import looked_up
from rlprompt.tasks.examples import Example
from rlprompt.tasks.template import Template
from rlprompt.tasks.tokenization import prompt_of
from rlprompt.tasks.vocabulary import build_vocabulary
from rlprompt.tuning import checkpoint
from rlprompt.tuning.peft_files import save_rows, stands_first
from rlprompt.tuning.protocol import Problem, facts_of
from rlprompt.tuning.text import best_manual, check_text
from rlprompt.tuning.trainable import bind, scores

#: Name of the file that a soft prompt is kept in, and of the tensor in it.
FILE: Final = "soft_prompt.safetensors"
TENSOR: Final = "prompt"
INITS: Final = ("text", "prompt", "vocab", "labels", "random")
#: Half the width of the uniform distribution of ``init = "random"`` (Lester et al. 2021, sec. 3.2).
SPREAD: Final = 0.5
#: Rows of a prompt that begins as no text, where nobody says how many.
ROWS: Final = 5
#: Most frequent words that ``init = "vocab"`` samples from, as there.
FREQUENT: Final = 5000


class SoftRows:
    """A soft prompt in a template. Implements :class:`rlprompt.tuning.trainable.Trainable`."""

    model: torch.nn.Module | None = None
    prompt = Prompt()
    takes = 0

    def __init__(self, template: Template, rows: torch.Tensor) -> None:
        """Starts from rows of shape (length, width)."""
        self.template = template
        self.start: Mapping[str, torch.Tensor] = {TENSOR: rows.detach().clone()}
        self._rows = torch.nn.Parameter(rows.detach().clone())

    def parameters(self) -> Mapping[str, torch.nn.Parameter]:
        """The prompt itself."""
        return {TENSOR: self._rows}

    def soft(self) -> torch.Tensor:
        """The prompt, shape (length, width)."""
        return self._rows


@dataclass(frozen=True, eq=False)
class TunedSoftPrompt:
    """A learned soft prompt. Implements :class:`rlprompt.tuning.protocol.Tuned`.

    Attributes:
        problem: what it was trained on.
        rows: the prompt in its template.
        start: the prompt before training, shape (length, width).
        history: a row for each look at dev.
        n_parameters: how many numbers were trained; not those of the prompt where it is computed
            from others.
    """

    problem: Problem
    rows: SoftRows
    start: torch.Tensor
    history: Sequence[Mapping[str, Any]]
    n_parameters: int

    def choice_logprobs(self, examples: Sequence[Example]) -> FloatArray:
        """See :meth:`rlprompt.tuning.protocol.Tuned.choice_logprobs`."""
        return scores(self.rows, bind(self.problem, self.rows, examples))

    def save(self, folder: Path) -> None:
        """Writes the prompt and what it was trained for.

        Where it says the same, the prompt is written in PEFT's format as well, see
        ``rlprompt.tuning.peft_files``.

        Raises:
            RunError: the folder cannot be written.
        """
        facts = facts_of(self.problem, self.rows.template)
        checkpoint.save(folder / FILE, self.rows.parameters(), facts)
        if stands_first(self.problem.lm, self.rows.template):
            save_rows(folder, self.problem.lm, self.rows.soft())


def check_rows(length: int, init: str, text: str, run: str) -> None:
    """Refuses settings of the start that cannot be meant.

    Raises:
        ConfigError: with what to write instead.
    """
    if type(length) is not int or length < 0:
        raise ConfigError(f"length must be 0 or more rows, not {length!r}.")
    if init not in INITS:
        raise ConfigError(
            f"Unknown init {init!r}.{suggest(str(init), INITS)} Known: {', '.join(INITS)}."
        )
    check_text(text)
    if text and init != "text":
        raise ConfigError(f"init = {init!r} takes no text: leave it out.")
    if bool(run) != (init == "prompt"):
        raise ConfigError(
            f"init = {init!r} and run = {run!r} do not go together: init = 'prompt' begins as the "
            "learned prompt of the run in that folder; the other ones take no run."
        )


def start_rows(
    problem: Problem, template: Template, seed: int, *, length: int, init: str, text: str, run: str
) -> torch.Tensor:
    """Returns the rows before training, on the LM's device.

    Args:
        problem: LM and task.
        template: where the rows will stand.
        seed: of what is sampled.
        length: rows; 0 for as many as the text has tokens, 5 where there is no text.
        init: 'text', embeddings of a text, repeated where the length is more and its end where it
            is less; 'prompt', those of a learned prompt; 'vocab', those of sampled frequent words;
            'labels', those of the label words, then of sampled words; 'random', uniform numbers.
        text: for ``init = "text"``; '' for whichever of the task's manual prompts is likeliest on
            dev.
        run: for ``init = "prompt"``: the folder of the run that learned it.

    Returns:
        Shape (length, width), float32.

    Raises:
        ConfigError: there is no text to begin from, or the budget does not cover its choice.
        RunError: there is no finished run.
    """
    model, generator = problem.lm.model, np.random.default_rng([seed, 1])
    if init in ("text", "prompt"):
        ids = _text_ids(problem, template, text or (run and learned_text(Path(run))))
        length = length or len(ids)
        # The end of a text, which stands next to the answer or the input, stays where it is.
        return looked_up(model, [ids[(n - length) % len(ids)] for n in range(length)])
    length = length or ROWS
    if init == "random":
        like = looked_up(model, [0])
        rows = generator.uniform(-SPREAD, SPREAD, (length, like.shape[1]))
        return torch.as_tensor(rows, dtype=torch.float32, device=like.device)
    first = _label_ids(problem, template)[:length] if init == "labels" else []
    vocabulary = build_vocabulary(
        problem.lm.tokenizer,
        problem.task.verbalizer,
        template,
        size=FREQUENT,
        language=problem.task.language,
    )
    rest = generator.choice(vocabulary.token_ids, length - len(first))
    return looked_up(model, [*first, *rest.tolist()])


def learned_text(run: Path) -> str:
    """Returns the text that a run learned.

    Raises:
        RunError: there is no finished run in the folder.
        ConfigError: it learned the empty prompt.
    """
    text = Result.load(run / "result.json").prompt.text
    if not text:
        raise ConfigError(f"The run in {run} learned the empty prompt: nothing to begin from.")
    return text


def _label_ids(problem: Problem, template: Template) -> list[int]:
    words = [template.answer_prefix + word for word in problem.task.verbalizer.flat]
    return [token for word in words for token in problem.lm.tokenizer.encode(word)]


def _text_ids(problem: Problem, template: Template, text: str) -> tuple[int, ...]:
    """Returns the tokens of the init text.

    Raises:
        ConfigError: there is none.
    """
    if text:
        return prompt_of(problem.lm.tokenizer, template, text).ids
    if not problem.task.manual_prompts:
        raise ConfigError(
            f"The task {problem.task.name!r} has no manual prompts to begin from: give a "
            "text, or init = 'vocab'."
        )
    return best_manual(problem, template).ids
