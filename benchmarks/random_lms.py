"""LMs of published shapes with random weights, in memory: good for timing, and for nothing else.

Their tokenizers are made from the sentences that are timed, so that these have about as many tokens
as with the real ones; the embedding has as many rows as the real one.
"""

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from tokenizers import AddedToken, ByteLevelBPETokenizer
from transformers import (
    PreTrainedModel,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaTokenizer,
    T5Config,
    T5ForConditionalGeneration,
    T5Tokenizer,
)

from rlprompt.lm.linear import pack_linears
from rlprompt.lm.masked import MaskedLM
from rlprompt.lm.seq2seq import Seq2SeqLM

ROBERTA_BASE = {
    "vocab_size": 50_265,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
T5_BASE = {
    "vocab_size": 32_128,
    "d_model": 768,
    "d_kv": 64,
    "d_ff": 3072,
    "num_layers": 12,
    "num_heads": 12,
    "decoder_start_token_id": 0,
}


def roberta_base(texts: Sequence[str], **shape: Any) -> MaskedLM:
    """RoBERTa-base's shapes, but for those that are given."""
    torch.manual_seed(0)
    model = RobertaForMaskedLM(RobertaConfig(**{**ROBERTA_BASE, **shape})).eval().to(device())
    lm = MaskedLM(model, byte_bpe(texts), name="random weights, RoBERTa-base shapes")
    pack(model, input_ids=torch.arange(4, 8, device=device())[None])
    return lm


def t5_base(texts: Sequence[str], **shape: Any) -> Seq2SeqLM:
    """T5-base's shapes, but for those that are given."""
    torch.manual_seed(0)
    model = T5ForConditionalGeneration(T5Config(**{**T5_BASE, **shape})).eval().to(device())
    lm = Seq2SeqLM(model, unigram(texts), name="random weights, T5-base shapes")
    tokens = torch.arange(4, 8, device=device())[None]
    pack(model, input_ids=tokens, decoder_input_ids=tokens)
    return lm


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def pack(model: PreTrainedModel, **inputs: torch.Tensor) -> None:
    """Prepares linear layers as ``load_lm`` does."""
    pack_linears(model, lambda: model(**inputs).logits, keep=model.get_output_embeddings())


def byte_bpe(texts: Sequence[str]) -> RobertaTokenizer:
    trainer = ByteLevelBPETokenizer()
    trainer.train_from_iterator(
        texts,
        vocab_size=30_000,
        min_frequency=1,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
        show_progress=False,
    )
    vocabulary, merges = _parts(trainer)
    vocabulary["<mask>"] = len(vocabulary)
    mask = AddedToken("<mask>", lstrip=True, special=True, normalized=False)
    return RobertaTokenizer(vocab=vocabulary, merges=merges, mask_token=mask)


def _parts(trainer: ByteLevelBPETokenizer) -> tuple[dict[str, int], list[tuple[str, str]]]:
    model = json.loads(trainer.to_str())["model"]
    merges = [tuple(m.split(" ") if isinstance(m, str) else m) for m in model["merges"]]
    return dict(model["vocab"]), merges


def unigram(texts: Sequence[str]) -> T5Tokenizer:
    """Every word is one piece, and so is every other character."""
    words = Counter(word for text in texts for word in re.findall(r"\S+", text))
    characters = sorted({character for word in words for character in word})
    pieces = {"<pad>": 0.0, "</s>": 0.0, "<unk>": 0.0, "\u2581": -3.0}
    pieces |= {f"\u2581{word}": -8.0 for word, _ in words.most_common(30_000)}
    pieces |= dict.fromkeys(characters, -12.0)
    return T5Tokenizer(vocab=[*pieces.items()], extra_ids=0)
