"""Prompts in the file format of PEFT's prompt tuning, which its users can load.

``PeftModel.from_pretrained(model, folder)`` puts the rows before all that the model is given, start
tokens included. So what is written here says the same as the prompt in its template only where
nothing stands left of the prompt (:func:`stands_first`). Anywhere else, e.g. behind a BOS token,
nothing is written.
"""

from pathlib import Path
from typing import Any

import torch

from rlprompt.core.errors import ConfigError, RunError
from rlprompt.core.files import write_json
from rlprompt.lm.gradients import looked_up
from rlprompt.lm.tokenizer import HFTokenizer
from rlprompt.tasks.template import Template
from rlprompt.tasks.tokenization import prompt_of
from rlprompt.tuning.protocol import TrainableLM


def stands_first(lm: TrainableLM, template: Template) -> bool:
    """Whether the prompt is the first that a causal LM reads, before any start token."""
    tokenizer = lm.tokenizer
    return (
        lm.identity.family == "causal"
        and isinstance(tokenizer, HFTokenizer)
        and not tokenizer.start_ids
        and template.split({})[0] == ""
    )


def save_rows(folder: Path, lm: TrainableLM, rows: torch.Tensor) -> None:
    """Writes rows of shape (length, width) as an adapter of PEFT.

    By hand, so that it needs no PEFT: the format is one tensor and a few facts.

    Raises:
        RunError: the folder cannot be written.
    """
    from safetensors.torch import save_file

    config: Any = lm.model.config
    facts = {
        "peft_type": "PROMPT_TUNING",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": lm.identity.name,
        "inference_mode": True,
        "num_virtual_tokens": rows.shape[0],
        "token_dim": rows.shape[1],
        "num_transformer_submodules": 1,
        "num_attention_heads": getattr(config, "num_attention_heads", 1),
        "num_layers": config.num_hidden_layers,
        # The rows are read from the file, whatever they began as.
        "prompt_tuning_init": "RANDOM",
    }
    write_json(folder / "adapter_config.json", facts)
    own = rows.detach().float().cpu().contiguous().clone()
    path = folder / "adapter_model.safetensors"
    try:
        save_file({"prompt_embeddings": own}, path, metadata={"format": "pt"})
    except OSError as error:
        raise RunError(f"Cannot write {path}: {error.strerror or error}.") from error


def save_text(folder: Path, lm: TrainableLM, template: Template, text: str) -> None:
    """Writes a text prompt as an adapter of PEFT: the embeddings of its tokens.

    Raises:
        ConfigError: the prompt is empty, or does not stand first.
        RunError: the folder cannot be written.
    """
    if not text:
        raise ConfigError("An empty prompt has no rows to write.")
    if not stands_first(lm, template):
        raise ConfigError(
            f"PEFT puts a prompt before all else, but with the template {template.source!r} and "
            f"{lm.identity.name} something stands before it, e.g. the input or a start token: use "
            "the text itself."
        )
    save_rows(folder, lm, looked_up(lm.model, prompt_of(lm.tokenizer, template, text).ids))
