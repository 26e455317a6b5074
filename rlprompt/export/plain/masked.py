"""Asks a masked LM, which answers at the mask between two texts."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer


def load(location: str, dtype: str, options: dict[str, Any]) -> tuple[Any, Any]:
    """Loads model and tokenizer."""
    model = AutoModelForMaskedLM.from_pretrained(location, dtype=dtype, **options)
    return model.eval(), AutoTokenizer.from_pretrained(location, **options)


def encode(tokenizer: Any, texts: Sequence[str]) -> list[int]:
    """Returns the ids that the LM reads, one mask among them."""
    before, after = texts
    return list(tokenizer(before + tokenizer.mask_token + after)["input_ids"])


@torch.inference_mode()
def word_logprobs(model: Any, tokenizer: Any, ids: list[int], words: list[str]) -> torch.Tensor:
    """Returns the log-probability of each word at the mask; a word of n tokens has n masks."""
    at, found = ids.index(tokenizer.mask_token_id), []
    for word in words:
        answer = tokenizer(word, add_special_tokens=False)["input_ids"]
        row = ids[:at] + [ids[at]] * len(answer) + ids[at + 1 :]
        logits = model(torch.tensor([row])).logits[0, at : at + len(answer)].float()
        found.append(logits.log_softmax(-1).gather(1, torch.tensor(answer)[:, None]).sum())
    return torch.stack(found)
