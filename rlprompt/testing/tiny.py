"""Tiny causal LMs with tokenizers: real transformers classes, random weights, no network."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from rlprompt.core.errors import ConfigError, suggest
from rlprompt.testing.words import COMMON_WORDS

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

_SENTENCE_STARTS: Final = ("The", "A", "It", "This", "I", "In", "What", "Is", "So", "Review")

# Names of the sizes differ by family; head_dim and grouped heads (2 key-value heads for 4 query
# heads) are set because the large models have them.
_LLAMA: Final[Mapping[str, Any]] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "tie_word_embeddings": True,
}
_SETTINGS: Final[Mapping[str, Mapping[str, Any]]] = {
    "gpt2": {
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 4,
        "n_positions": 128,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
    },
    "llama": {**_LLAMA, "head_dim": 8},
    "qwen2": _LLAMA,
    "qwen3": {**_LLAMA, "head_dim": 8},
    "gpt_neox": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 128,
    },
    "opt": {
        "hidden_size": 32,
        "word_embed_proj_dim": 32,
        "ffn_dim": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 128,
        "dropout": 0.0,
    },
    "phi": {**_LLAMA, "num_key_value_heads": 4, "tie_word_embeddings": False},
    "mistral": {**_LLAMA, "head_dim": 8, "sliding_window": 8},
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4, "time_step_rank": 4},
}

PACKED_FAMILIES: Final = ("gpt2", "llama", "qwen2", "qwen3", "gpt_neox", "opt", "phi")
"""Families that take a 4-d mask and position ids, so that many prompts fit one row."""

UNPACKED_FAMILIES: Final = ("mistral", "bloom", "mamba")
"""Families that do not: a sliding window of 8, ALiBi (positions lie in the mask), no attention."""

CAUSAL_FAMILIES: Final = PACKED_FAMILIES + UNPACKED_FAMILIES
"""All families of :func:`tiny_causal`."""

_BOS_FAMILIES: Final = frozenset({"llama", "mistral", "opt"})


def tiny_tokenizer(
    words: Sequence[str] = COMMON_WORDS, kind: str = "byte-bpe", *, bos: bool = False
) -> "PreTrainedTokenizerFast":
    """Builds a byte-level BPE tokenizer as GPT-2 has it, in memory, in milliseconds.

    Each word of ``words``, and each with a capital in ``"The", "A", "It", ...`` at the start of a
    text, is one token with its leading space (``" good"``). Any other text falls apart into pieces
    and, at worst, bytes, so every text round-trips. As in any BPE, there are token sequences that
    no text encodes to (``" goo" + "d"``).

    Ids: 0 ``<|endoftext|>``, 1 ``<|begin|>``, then bytes, then whole words in the order given, then
    the pieces that they were merged from. No pad token is set, as with GPT-2 and Llama.

    Args:
        words: words to have as single tokens, without spaces.
        kind: 'byte-bpe', the only kind so far.
        bos: whether encoding with special tokens puts ``<|begin|>`` first, as Llama does.

    Raises:
        ConfigError: another kind.

    >>> tokenizer = tiny_tokenizer()
    >>> tokenizer.tokenize(" a good movie")
    ['Ġa', 'Ġgood', 'Ġmovie']
    """
    if kind != "byte-bpe":
        raise ConfigError(f"Unknown kind of tokenizer {kind!r}: 'byte-bpe' is the only one.")
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    pieces, merges = byte_pieces(words)
    eos, begin = "<|endoftext|>", "<|begin|>"
    vocabulary = dict.fromkeys((eos, begin, *pieces))
    model = models.BPE(vocab={piece: i for i, piece in enumerate(vocabulary)}, merges=merges)
    backend = Tokenizer(model)
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special = [AddedToken(text, special=True, normalized=False) for text in (eos, begin)]
    backend.add_special_tokens(special)
    if bos:
        backend.post_processor = processors.TemplateProcessing(
            single=f"{begin} $A", pair=f"{begin} $A {begin} $B", special_tokens=[(begin, 1)]
        )
    # transformers leaves these constructors untyped.
    tokenizer = cast(Any, PreTrainedTokenizerFast)(
        tokenizer_object=backend,
        bos_token=begin if bos else eos,
        eos_token=eos,
        unk_token=eos,
        clean_up_tokenization_spaces=False,
        model_max_length=128,
    )
    return cast("PreTrainedTokenizerFast", tokenizer)


def tiny_causal(
    family: str, *, seed: int = 0, std: float = 0.3
) -> "tuple[PreTrainedModel, PreTrainedTokenizerFast]":
    """Builds a causal LM of 2 layers and width 32, in eval mode and float32, and its tokenizer.

    The context is 128 positions (bloom and mamba have no limit of their own). The tokenizer of
    llama, mistral and opt puts a first token, as theirs do. No random state of the process changes.
    Parameters still require gradients, as after ``from_pretrained``: freezing is the caller's.

    Args:
        family: one of ``CAUSAL_FAMILIES``.
        seed: decides the weights.
        std: standard deviation of every weight matrix. The usual 0.02 gives nearly equal scores to
            all prompts of so small a model; at 0.3 they differ by tenths of a nat and more.

    Raises:
        ConfigError: unknown family.
    """
    if family not in CAUSAL_FAMILIES:
        raise ConfigError(
            f"Unknown family {family!r}.{suggest(family, CAUSAL_FAMILIES)} "
            f"Known: {', '.join(CAUSAL_FAMILIES)}."
        )
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = tiny_tokenizer(bos=family in _BOS_FAMILIES)
    config = AutoConfig.for_model(
        family,
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        # OPT and mamba would otherwise take an id of a word for padding and keep its row at zero.
        pad_token_id=None,
        **_SETTINGS[family],
    )
    # Seeding the CPU generator alone: torch.manual_seed would also reseed GPUs, outside the fork.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = cast(Any, AutoModelForCausalLM).from_config(config, dtype=torch.float32)
        spread(model, std)
    return cast("PreTrainedModel", model.eval()), tokenizer


def save_tiny(folder: Path | str, family: str = "llama", seed: int = 0) -> Path:
    """Saves a tiny LM and its tokenizer as a folder that ``from_pretrained`` reads.

    Args:
        folder: made if need be.
        family: one of ``CAUSAL_FAMILIES``, ``MASKED_FAMILIES`` or ``SEQ2SEQ_FAMILIES``.
        seed: decides the weights.

    Returns:
        The folder, with ``config.json``, ``model.safetensors`` and ``tokenizer.json`` in it.

    Raises:
        ConfigError: unknown family.
    """
    from rlprompt.testing.tiny_masked import MASKED_FAMILIES, tiny_masked
    from rlprompt.testing.tiny_seq2seq import SEQ2SEQ_FAMILIES, tiny_seq2seq

    known = (*CAUSAL_FAMILIES, *MASKED_FAMILIES, *SEQ2SEQ_FAMILIES)
    if family not in known:
        raise ConfigError(
            f"Unknown family {family!r}.{suggest(family, known)} Known: {', '.join(known)}."
        )
    make: Any = tiny_causal
    if family in MASKED_FAMILIES:
        make = tiny_masked
    elif family in SEQ2SEQ_FAMILIES:
        make = tiny_seq2seq
    model, tokenizer = make(family, seed=seed)
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def byte_pieces(words: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Returns pieces and merges of a byte-level BPE: bytes, words with their space, parts of them.

    Capitals at the start of a text are as in :func:`tiny_tokenizer`.
    """
    from tokenizers import pre_tokenizers

    to_piece = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    wholes = [
        "".join(piece for piece, _ in to_piece.pre_tokenize_str(text))
        for text in (*(f" {word}" for word in words), *_SENTENCE_STARTS)
    ]
    merges = _merges(wholes)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    parts = (left + right for left, right in merges)
    return list(dict.fromkeys((*alphabet, *wholes, *parts))), merges


def _merges(wholes: Sequence[str]) -> list[tuple[str, str]]:
    """Merges that grow each whole from its left end, one character at a time.

    All merges of one word start at its first character, so none competes with another and every
    whole becomes one token for certain, which training on a corpus would not promise.
    """
    steps = ((whole[:n], whole[n]) for whole in wholes for n in range(1, len(whole)))
    return list(dict.fromkeys(steps))


def spread(model: "nn.Module", std: float) -> None:
    """Draws every matrix anew from the default generator; vectors (norms, biases) stay."""
    import torch

    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                parameter.normal_(0.0, std)
