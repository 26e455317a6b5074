"""Adapters of the package peft: made without noise, the same for the same seed, and saved."""

import copy
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from rlprompt.core.errors import ConfigError
from rlprompt.tasks.optional import need
from rlprompt.tuning.protocol import Problem

#: What peft calls the LM families that it tells apart.
_TASK_TYPES = {"causal": "CAUSAL_LM", "seq2seq": "SEQ_2_SEQ_LM"}
#: Warnings about what peft does right by itself, and about its own use of transformers.
NOISE = (
    r"fan_in_fan_out is set to False but the target module is `Conv1D`",
    r"`is_gradient_checkpointing` is deprecated",
)


def peft_for(name: str) -> Any:
    """Returns the package peft.

    Raises:
        ConfigError: it is not installed.
    """
    return need("peft", "rlprompt[tuning]", f"The tuner {name!r}")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Makes what torch draws depend on a seed; the state from before comes back at the end.

    Only the generator of the CPU, on which new modules are drawn before they move.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def with_adapter(
    name: str, problem: Problem, model: torch.nn.Module, config: str, seed: int, **settings: Any
) -> Any:
    """Returns a model with a new adapter: a ``peft.PeftModel``.

    Args:
        name: of the tuner.
        problem: the LM, whose family and name the adapter notes.
        model: what it is put on; peft may change its modules.
        config: name of peft's class of settings.
        seed: of the adapter's numbers.
        settings: for that class.

    Raises:
        ConfigError: peft is not installed, or does not know the architecture.
    """
    peft, identity = peft_for(name), problem.lm.identity
    made = getattr(peft, config)(task_type=_TASK_TYPES.get(identity.family), **settings)
    try:
        with seeded(seed), warnings.catch_warnings():
            for message in NOISE:
                warnings.filterwarnings("ignore", message)
            adapter = peft.get_peft_model(model, made)
    except ValueError as error:
        raise ConfigError(
            f"{name} cannot be put on {type(model).__name__}: {str(error).splitlines()[0]}"
        ) from error
    # What its user has to load; peft would write the folder that the LM was read from.
    made.base_model_name_or_path = identity.name
    return adapter


def save_adapter(adapter: Any, folder: Path) -> None:
    """Writes ``adapter_config.json`` and ``adapter_model.safetensors``.

    The embeddings are the LM's own: told so, peft asks no hub whether they changed. Its model card
    is left away, since it says nothing of this training.
    """
    adapter.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)


def sharing_copy(model: torch.nn.Module) -> torch.nn.Module:
    """Copies modules but not their numbers: a module put in place of one leaves the original be."""
    numbers: Mapping[int, torch.Tensor] = {
        id(each): each for each in (*model.parameters(), *model.buffers())
    }
    return copy.deepcopy(model, dict(numbers))
