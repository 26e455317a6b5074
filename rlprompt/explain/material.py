"""A finished run as something that questions can be asked about."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

from rlprompt.core.errors import ConfigError, DataError, RunError
from rlprompt.core.prompt import Prompt
from rlprompt.core.result import Result
from rlprompt.lm.protocol import FrozenLM
from rlprompt.objective.split_scorer import Question
from rlprompt.run import folder
from rlprompt.run.optimize import run_folder
from rlprompt.run.predictor import own_lm
from rlprompt.run.transfer_sources import Source, task_again
from rlprompt.tasks.task import Task
from rlprompt.tasks.tokenization import canonical, prompt_of, prompt_text
from rlprompt.tasks.vocabulary import ActionVocabulary


@dataclass(frozen=True, eq=False)
class Material:
    """What an explanation works with.

    Attributes:
        folder: of the run.
        result: what the run came to.
        task: its task, made anew and found to be the same.
        lm: the LM that the prompt was learned for.
        vocabulary: what prompts of the run are made of.
        question: what the run asked of the LM, so that its scores are found again.
        learned: the learned prompt.
        manual: the run's manual prompt; None where there is none.
    """

    folder: Path
    result: Result
    task: Task
    lm: FrozenLM
    vocabulary: ActionVocabulary
    question: Question
    learned: Prompt
    manual: Prompt | None

    def text(self, prompt: Prompt) -> str:
        """Returns a prompt's text for the template's slots."""
        return prompt_text(self.lm.tokenizer, self.task.template, prompt)

    def shipped(self, prompt: Prompt) -> Prompt | None:
        """Returns the prompt that another one's text is, None if there is no room for it."""
        found = canonical(self.lm.tokenizer, self.task.template, prompt)
        return found if len(found) <= self.question.max_prompt_tokens else None


def finished(run: str | Path) -> Source:
    """Reads a finished run.

    Raises:
        RunError: there is none, or it is not finished.
    """
    path = run_folder(run)
    return Source(path.resolve().name, path, Result.load(path / folder.RESULT))


def gather(
    source: Source,
    *,
    task: Task | str | None,
    lm: FrozenLM | None,
    data_root: Path | None,
    device: str | None,
    threads: int | None,
) -> Material:
    """Makes task and LM of a run anew.

    Args:
        source: the run.
        task: the task, or where its file or folder is now; None for where it was.
        lm: the LM, if it is loaded already.
        data_root: what ``{data_root}`` stands for in a task's ``.toml`` file.
        device: where to load the LM otherwise; None for the best there is.
        threads: CPU threads; None for torch's choice.

    Raises:
        RunError: the data, the LM or the vocabulary's file are not there, or not those of the run.
    """
    if isinstance(task, str):
        moved = {**source.result.config, "task": task}
        source = replace(source, result=replace(source.result, config=moved))
        task = None
    result = source.result
    try:
        task = task_again(source, data_root, task)
    except (DataError, ConfigError) as error:
        raise RunError(
            f"An explanation needs the examples of {source.folder}, and its task "
            f"{result.config['task']!r} cannot be made again: {error} Say with --task where its "
            "data are now, or give the command in the folder that the run was started in."
        ) from error
    lm = own_lm(result, lm=lm, device=device, threads=threads)

    def prompt(text: str) -> Prompt:
        return prompt_of(lm.tokenizer, task.template, text)

    manual = [prompt(text) for text in task.manual_prompts]
    learned = prompt(result.prompt.text)
    # As the run left it: with other room for the prompt texts would be cut in other places.
    longest = max([int(result.config["length"]), len(learned), *map(len, manual)])
    return Material(
        folder=source.folder,
        result=result,
        task=task,
        lm=lm,
        vocabulary=_vocabulary(source.folder / folder.VOCABULARY),
        question=Question(task.template, task.verbalizer, longest),
        learned=learned,
        manual=prompt(result.baselines["manual"].prompt.text) if manual else None,
    )


def _vocabulary(path: Path) -> ActionVocabulary:
    try:
        return ActionVocabulary.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"Cannot read the action vocabulary {path} ({error}): near words are looked up in it."
        ) from error
