"""What a tuner saved, ready to give scores again."""

import json
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from rlprompt.core.errors import RunError
from rlprompt.core.ledger import Budget
from rlprompt.lm.families import auto_model
from rlprompt.lm.loading import quiet
from rlprompt.tasks.task import Task
from rlprompt.tasks.template import Template
from rlprompt.tasks.tokenization import prompt_of
from rlprompt.tuning import checkpoint
from rlprompt.tuning.adapters import NOISE, peft_for, save_adapter, sharing_copy
from rlprompt.tuning.protocol import Problem, TrainableLM, Tuned, check_lm
from rlprompt.tuning.rows import FILE, TENSOR, SoftRows, TunedSoftPrompt
from rlprompt.tuning.tuned_model import FACTS, ChangedModel, TunedModel

_ADAPTER = "adapter_config.json"


def load_tuned(folder: Path | str, lm: TrainableLM, task: Task, *, force: bool = False) -> Tuned:
    """Loads what a tuner saved: a soft prompt, an adapter or a whole model.

    Args:
        folder: where ``save`` put it; in a comparison, the folder of the run.
        lm: the LM that it was trained for, loaded with ``LMConfig(trainable=True)``.
        task: the task that it was trained for; which examples it has does not matter.
        force: whether another LM, or a task with other labels or words, will do.

    Raises:
        RunError: there is nothing, it is damaged, or it was trained for another LM or task.
        ConfigError: peft is needed and not installed.
    """
    folder, problem = Path(folder), Problem(lm, task, Budget(1))
    rows = checkpoint.load(folder / FILE, "copy it anew from where it was written")
    if rows is not None:
        tensors, facts = rows
        _check(folder / FILE, facts, problem, force)
        soft = SoftRows(_template(facts), tensors[TENSOR].to(_device(lm)))
        return TunedSoftPrompt(problem, soft, tensors[TENSOR], (), tensors[TENSOR].numel())
    path = folder / FACTS
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(f"{folder} holds nothing that a tuner saved: no {FILE}, no {FACTS}.") from (
            error
        )
    except (OSError, ValueError) as error:
        raise RunError(f"Cannot read {path}: {error}.") from error
    _check(path, facts, problem, force)
    template = _template(facts)
    prompt = prompt_of(lm.tokenizer, template, facts["prompt"])
    model, save, takes = (
        _adapted(folder, lm) if (folder / _ADAPTER).exists() else _whole(folder, lm)
    )
    return TunedModel(problem, ChangedModel(template, prompt, model, takes=takes), save, ())


def _check(path: Path, facts: Mapping[str, Any], problem: Problem, force: bool) -> None:
    if force:
        return
    check_lm(path, facts, problem.lm)
    task = problem.task
    words = [list(each) for each in task.verbalizer.words]
    if (facts["labels"], facts["words"]) != ([*task.labels], words):
        raise RunError(
            f"{path} was trained for the labels {', '.join(facts['labels'])} with the words "
            f"{facts['words']}, not for {', '.join(task.labels)} with {words}. Name the task that "
            "it was trained for, or give force=True."
        )


def _template(facts: Mapping[str, Any]) -> Template:
    return Template(facts["template"], facts["answer_prefix"])


def _device(lm: TrainableLM) -> torch.device:
    return next(lm.model.parameters()).device


def _adapted(folder: Path, lm: TrainableLM) -> tuple[torch.nn.Module, Any, int]:
    """Returns the LM's model with an adapter, what saves it, and the positions that it takes."""
    peft = peft_for("of this adapter")
    with warnings.catch_warnings():
        for message in NOISE:
            warnings.filterwarnings("ignore", message)
        try:
            settings = peft.PeftConfig.from_pretrained(folder)
            learns_a_prompt = settings.is_prompt_learning
            model = lm.model if learns_a_prompt else sharing_copy(lm.model)
            adapter = peft.PeftModel.from_pretrained(model, folder, config=settings)
        # A file that was cut, or numbers of other shapes.
        except Exception as error:
            raise RunError(
                f"Cannot load the adapter in {folder}: {str(error).splitlines()[0]}. Copy it anew "
                "from where it was written."
            ) from error
    save = partial(save_adapter, adapter)
    if learns_a_prompt:
        return adapter, save, settings.num_virtual_tokens
    return adapter.get_base_model(), save, 0


def _whole(folder: Path, lm: TrainableLM) -> tuple[torch.nn.Module, Any, int]:
    """Returns a model that was saved whole."""
    try:
        with quiet():
            model: Any = auto_model(lm.identity.family).from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
            )
    # transformers and safetensors raise many kinds for a file that is missing or was cut.
    except Exception as error:
        raise RunError(
            f"Cannot load the model in {folder}: {str(error).splitlines()[0]}. Copy it anew from "
            "where it was written."
        ) from error
    return model.to(_device(lm)).requires_grad_(True), model.save_pretrained, 0
