"""Which LM gave a score: hashes of weights and tokenizer."""

import hashlib
import json
from typing import TYPE_CHECKING

import torch

from rlprompt.core.hashing import content_hash
from rlprompt.lm.protocol import Identity

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_SAMPLES_PER_TENSOR = 65_536


def weights_hash(model: "PreTrainedModel") -> str:
    """Hashes every parameter and buffer: all of a small tensor, an even sample of a large one.

    A fine-tuned copy differs in nearly every element, so a sample of 65,536 tells it apart at a
    cost that does not grow with the model.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        flat = tensor.detach().reshape(-1)
        step = max(1, flat.numel() // _SAMPLES_PER_TENSOR)
        sample = flat[::step].contiguous().view(torch.uint8).cpu().numpy()
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(sample.tobytes())
    return digest.hexdigest()[:16]


def tokenizer_hash(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Hashes vocabulary, merges, normalisation and special tokens of a tokenizer."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    core = json.loads(backend.to_str()) if backend is not None else tokenizer.get_vocab()
    if isinstance(core, dict):
        # Padding and truncation are settings of the last call, not of the tokenizer.
        core.pop("padding", None)
        core.pop("truncation", None)
    return content_hash([core, sorted(tokenizer.special_tokens_map.items(), key=str)])


def identify(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    *,
    name: str,
    family: str,
    revision: str,
) -> Identity:
    """Returns the identity of a loaded LM."""
    return Identity(
        name=name,
        family=family,
        revision=revision,
        dtype=str(model.dtype).removeprefix("torch."),
        weights=weights_hash(model),
        tokenizer=tokenizer_hash(tokenizer),
    )
