"""One file that holds all of a training's state, so that the same call goes on where it was."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from rlprompt.core.errors import RunError

#: Key of the JSON text among the file's metadata.
_FACTS = "facts"


def save(path: Path, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
    """Writes tensors and JSON values; a kill leaves the old file or the new one.

    Raises:
        RunError: the file cannot be written.
    """
    from safetensors.torch import save_file

    torn = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        own = {name: each.detach().cpu().contiguous().clone() for name, each in tensors.items()}
        save_file(own, torn, metadata={_FACTS: json.dumps(facts)})
        torn.replace(path)
    except OSError as error:
        raise RunError(f"Cannot write {path}: {error.strerror or error}.") from error


def load(
    path: Path, advice: str = "delete it, and the training begins anew"
) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
    """Reads what :func:`save` wrote; None if there is no such file.

    Args:
        path: the file.
        advice: what to do if it is damaged.

    Raises:
        RunError: the file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads(file.metadata()[_FACTS])
            return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is damaged ({error}): {advice}.") from error


def flat(state: Mapping[str, Any]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Splits an optimizer's state into tensors and JSON values, both by flat names."""
    tensors: dict[str, torch.Tensor] = {}
    values: dict[str, Any] = {}
    for number, slots in state["state"].items():
        for key, value in slots.items():
            kept = tensors if isinstance(value, torch.Tensor) else values
            kept[f"{number}.{key}"] = value
    return tensors, values


def unflat(
    tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any], groups: list[dict[str, Any]]
) -> dict[str, Any]:
    """Puts together what :func:`flat` split, with the parameter groups of a new optimizer."""
    state: dict[int, dict[str, Any]] = {}
    for name, value in {**tensors, **values}.items():
        number, _, key = name.partition(".")
        state.setdefault(int(number), {})[key] = value
    return {"state": state, "param_groups": groups}
