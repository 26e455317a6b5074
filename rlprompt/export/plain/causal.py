"""Asks a causal LM, which answers after the text."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def load(location: str, dtype: str, options: dict[str, Any]) -> tuple[Any, Any]:
    """Loads model and tokenizer."""
    model: Any = AutoModelForCausalLM.from_pretrained(location, dtype=dtype, **options)
    return model.eval(), AutoTokenizer.from_pretrained(location, **options)


def encode(tokenizer: Any, texts: Sequence[str]) -> list[int]:
    """Returns the ids that the LM reads."""
    (text,) = texts
    return list(tokenizer(text)["input_ids"])


@torch.inference_mode()
def word_logprobs(model: Any, tokenizer: Any, ids: list[int], words: list[str]) -> torch.Tensor:
    """Returns the log-probability of each word after the text."""
    found = []
    for word in words:
        answer = tokenizer(word, add_special_tokens=False)["input_ids"]
        logits = model(torch.tensor([ids + answer])).logits[0, len(ids) - 1 : -1].float()
        found.append(logits.log_softmax(-1).gather(1, torch.tensor(answer)[:, None]).sum())
    return torch.stack(found)
