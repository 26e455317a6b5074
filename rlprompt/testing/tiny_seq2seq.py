"""Tiny encoder-decoder LMs with tokenizers: real transformers classes, random weights."""

import json
import string
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from rlprompt.core.errors import ConfigError, suggest
from rlprompt.testing.tiny import tiny_tokenizer
from rlprompt.testing.words import COMMON_WORDS

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_CONTEXT: Final = 128
_SENTINELS: Final = 4
_ANSWERS: Final = ("bad", "good", "terrible", "great", "negative", "positive", "no", "yes")
_SENTENCE_STARTS: Final = ("The", "A", "It", "This", "I", "In", "What", "Is", "So", "Review")

_T5: Final[Mapping[str, Any]] = {
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 64,
    "num_layers": 2,
    "num_heads": 4,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 32,
    "decoder_start_token_id": 0,
    "dropout_rate": 0.0,
}
_SETTINGS: Final[Mapping[str, Mapping[str, Any]]] = {
    "t5": _T5,
    # Version 1.1 neither shares its head with the embedding nor scales what the head reads.
    "t5-v1.1": {**_T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    "bart": {
        "d_model": 32,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64,
        "max_position_embeddings": _CONTEXT,
        "dropout": 0.0,
        "attention_dropout": 0.0,
    },
}

SEQ2SEQ_FAMILIES: Final = tuple(_SETTINGS)
"""All families of :func:`tiny_seq2seq`."""


def tiny_seq2seq(
    family: str, *, seed: int = 0, std: float = 0.3
) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """Builds an encoder-decoder LM of 2 + 2 layers and width 32, and its tokenizer, in memory.

    The tokenizers are those classes that the real models have: for T5 a Unigram model whose words
    carry their space as a mark before them ("▁good"), with 4 sentinels; for BART byte-level BPE,
    with a mask token that takes the space before it. Words of ``COMMON_WORDS`` are one token each
    behind a space, and at the beginning of a text with T5; with BART "good", "bad" and a few more
    are. Both read up to 128 tokens. Eval mode, float32; no random state of the process changes.

    Args:
        family: 't5', 't5-v1.1' or 'bart'.
        seed: decides the weights.
        std: standard deviation of every weight matrix. The usual 0.02 gives nearly equal scores to
            all prompts of so small a model.

    Raises:
        ConfigError: unknown family.

    >>> _, tokenizer = tiny_seq2seq("t5")
    >>> tokenizer.tokenize("a good <extra_id_0>")
    ['▁a', '▁good', '<extra_id_0>']
    """
    if family not in SEQ2SEQ_FAMILIES:
        raise ConfigError(
            f"Unknown family {family!r}.{suggest(family, SEQ2SEQ_FAMILIES)} "
            f"Known: {', '.join(SEQ2SEQ_FAMILIES)}."
        )
    import torch
    from transformers import AutoConfig, AutoModelForSeq2SeqLM

    tokenizer = _byte_bpe() if family == "bart" else _unigram()
    config = AutoConfig.for_model(
        family.partition("-")[0],
        # The real models have more embedding rows than their tokenizers have tokens.
        vocab_size=len(tokenizer) + 5,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        **_SETTINGS[family],
    )
    # Seeding the CPU generator alone: torch.manual_seed would also reseed GPUs, outside the fork.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = cast(Any, AutoModelForSeq2SeqLM).from_config(config, dtype=torch.float32)
        if family == "t5-v1.1":
            # transformers 5 shares them in every T5 that is not loaded from a checkpoint.
            model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
        _spread(model, std)
    return cast("PreTrainedModel", model.eval()), tokenizer


def _unigram() -> "PreTrainedTokenizerBase":
    """Builds a T5 tokenizer: common words whole, anything else letter by letter or unknown."""
    from transformers import T5Tokenizer

    pieces = {"<pad>": 0.0, "</s>": 0.0, "<unk>": 0.0, "▁": -3.0}
    words = (f"▁{word}" for word in (*COMMON_WORDS, *_SENTENCE_STARTS))
    # Frequent words first, and any word likelier than its letters.
    pieces |= {word: -4.0 - n / 1000 for n, word in enumerate(words)}
    pieces |= dict.fromkeys(string.printable.strip(), -8.0)
    # Among the pieces as in the real model, which therefore finds them in any text.
    pieces |= {f"<extra_id_{n}>": 0.0 for n in reversed(range(_SENTINELS))}
    tokenizer = cast(Any, T5Tokenizer)(
        vocab=[*pieces.items()], extra_ids=_SENTINELS, model_max_length=_CONTEXT
    )
    return cast("PreTrainedTokenizerBase", tokenizer)


def _byte_bpe() -> "PreTrainedTokenizerBase":
    """Builds a BART tokenizer from the pieces of :func:`rlprompt.testing.tiny_tokenizer`."""
    from tokenizers import AddedToken
    from transformers import BartTokenizer

    plain = tiny_tokenizer()
    model = json.loads(plain.backend_tokenizer.to_str())["model"]
    pieces = [piece for piece in model["vocab"] if piece not in plain.added_tokens_encoder]
    # Last, so that they do not come before the merges of the same words with their space.
    answers = [(word[:n], word[n]) for word in _ANSWERS for n in range(1, len(word))]
    merges = dict.fromkeys((*map(tuple, model["merges"]), *answers))
    pieces += [left + right for left, right in answers]
    vocabulary = dict.fromkeys(("<s>", "<pad>", "</s>", "<unk>", *pieces, "<mask>"))
    tokenizer = cast(Any, BartTokenizer)(
        vocab={piece: n for n, piece in enumerate(vocabulary)},
        merges=[*merges],
        mask_token=AddedToken("<mask>", lstrip=True, special=True),
        model_max_length=_CONTEXT,
    )
    return cast("PreTrainedTokenizerBase", tokenizer)


def _spread(model: "nn.Module", std: float) -> None:
    """Draws every matrix anew from the default generator; vectors (norms, biases) stay."""
    import torch

    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                parameter.normal_(0.0, std)
