"""Asks an encoder-decoder LM, whose decoder begins with the answer."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer


def load(location: str, dtype: str, options: dict[str, Any]) -> tuple[Any, Any]:
    """Loads model and tokenizer."""
    model = AutoModelForSeq2SeqLM.from_pretrained(location, dtype=dtype, **options)
    return model.eval(), AutoTokenizer.from_pretrained(location, **options)


def encode(tokenizer: Any, texts: Sequence[str]) -> list[int]:
    """Returns the ids that the encoder reads."""
    (text,) = texts
    return list(tokenizer(text)["input_ids"])


@torch.inference_mode()
def word_logprobs(model: Any, tokenizer: Any, ids: list[int], words: list[str]) -> torch.Tensor:
    """Returns the log-probability that the decoder begins with each word."""
    config, before = model.config, tokenizer("")["input_ids"][:-1]
    forced = model.generation_config.forced_bos_token_id
    start = [config.decoder_start_token_id, *(before if forced is None else [forced])]
    found = []
    for word in words:
        answer = tokenizer(word, add_special_tokens=False)["input_ids"]
        read = torch.tensor([start + answer])
        logits = model(input_ids=torch.tensor([ids]), decoder_input_ids=read).logits
        logits = logits[0, len(start) - 1 : -1].float()
        found.append(logits.log_softmax(-1).gather(1, torch.tensor(answer)[:, None]).sum())
    return torch.stack(found)
