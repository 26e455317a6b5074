"""Tiny masked LMs with tokenizers of their real kinds: random weights, no network."""

import string
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from rlprompt.core.errors import ConfigError, suggest
from rlprompt.testing.tiny import byte_pieces, spread
from rlprompt.testing.words import COMMON_WORDS

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_BERT: Final[Mapping[str, Any]] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
}
#: RoBERTa's table of positions begins after the row of its pad token, whose id is 1.
_ROBERTA: Final = {**_BERT, "max_position_embeddings": 130}
_SETTINGS: Final[Mapping[str, Mapping[str, Any]]] = {
    "bert": _BERT,
    "roberta": _ROBERTA,
    "distilbert": {
        "dim": 32,
        "hidden_dim": 64,
        "n_layers": 2,
        "n_heads": 4,
        "max_position_embeddings": 128,
    },
    # Its embeddings are narrower than its states, and its head leads back to their width.
    "electra": {**_BERT, "embedding_size": 16},
    # One layer in three sees everything, the others a window of 16 tokens.
    "modernbert": {**_BERT, "num_hidden_layers": 3, "local_attention": 16},
    "xlm-roberta": _ROBERTA,
}

MASKED_FAMILIES: Final = tuple(_SETTINGS)
"""All families of :func:`tiny_masked`."""

_PIECES: Final = ("##ing", "##ed", "##s", "##ly", "##able", "un", "re")
_BERT_SPECIALS: Final = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_ROBERTA_SPECIALS: Final = ("<s>", "<pad>", "</s>", "<unk>")


def tiny_masked(
    family: str, *, seed: int = 0, std: float = 0.3
) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """Builds a masked LM of width 32, in eval mode and float32, and its tokenizer.

    The tokenizer is of the family's own kind: WordPiece without capitals (bert, distilbert,
    electra), byte-level BPE (roberta, modernbert; the mask token takes the space before it),
    Unigram over words marked with U+2581 (xlm-roberta). Every word of ``COMMON_WORDS`` is one
    token. All read up to 128 tokens. No random state of the process changes.

    Args:
        family: one of ``MASKED_FAMILIES``; electra is the generator.
        seed: decides the weights.
        std: standard deviation of every weight matrix, see :func:`rlprompt.testing.tiny_causal`.

    Raises:
        ConfigError: unknown family.
    """
    if family not in MASKED_FAMILIES:
        raise ConfigError(
            f"Unknown family {family!r}.{suggest(family, MASKED_FAMILIES)} "
            f"Known: {', '.join(MASKED_FAMILIES)}."
        )
    import torch
    from transformers import AutoConfig, AutoModelForMaskedLM

    tokenizer: Any = _TOKENIZERS[family]()
    config = AutoConfig.for_model(
        family,
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        cls_token_id=tokenizer.cls_token_id,
        sep_token_id=tokenizer.sep_token_id,
        **_SETTINGS[family],
    )
    # Seeding the CPU generator alone: torch.manual_seed would also reseed GPUs, outside the fork.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = cast(Any, AutoModelForMaskedLM).from_config(config, dtype=torch.float32)
        spread(model, std)
    return cast("PreTrainedModel", model.eval()), tokenizer


def _wordpiece(words: Sequence[str] = COMMON_WORDS) -> "PreTrainedTokenizerBase":
    """BERT's kind, lower case: ids of special tokens, unused ones, characters, words, pieces."""
    from transformers import BertTokenizer

    letters = string.ascii_lowercase + string.digits
    vocabulary = dict.fromkeys(
        (
            *_BERT_SPECIALS,
            *(f"[unused{n}]" for n in range(5)),
            *letters,
            *string.punctuation,
            *(f"##{letter}" for letter in letters),
            *(word.lower() for word in words),
            *_PIECES,
        )
    )
    ids = {piece: n for n, piece in enumerate(vocabulary)}
    tokenizer = cast(Any, BertTokenizer)(vocab=ids, model_max_length=128)
    return cast("PreTrainedTokenizerBase", tokenizer)


def _roberta_bpe() -> "PreTrainedTokenizerBase":
    """RoBERTa's kind: the mask token is the last id, as in the original."""
    from tokenizers import AddedToken
    from transformers import RobertaTokenizer

    pieces, merges = byte_pieces(COMMON_WORDS)
    vocabulary = dict.fromkeys((*_ROBERTA_SPECIALS, *pieces, "<mask>"))
    tokenizer = cast(Any, RobertaTokenizer)(
        vocab={piece: n for n, piece in enumerate(vocabulary)},
        merges=merges,
        mask_token=AddedToken("<mask>", lstrip=True, special=True, normalized=False),
        model_max_length=128,
    )
    return cast("PreTrainedTokenizerBase", tokenizer)


def _modernbert_bpe() -> "PreTrainedTokenizerBase":
    """ModernBERT's kind: byte-level BPE as GPT-NeoX has it, with BERT's special tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    pieces, merges = byte_pieces(COMMON_WORDS)
    vocabulary = {
        piece: n for n, piece in enumerate(dict.fromkeys((*pieces, *sorted(_BERT_SPECIALS))))
    }
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(
        [
            AddedToken(text, special=True, normalized=False, lstrip=text == "[MASK]")
            for text in _BERT_SPECIALS
        ]
    )
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[(text, vocabulary[text]) for text in ("[CLS]", "[SEP]")],
    )
    tokenizer = cast(Any, PreTrainedTokenizerFast)(
        tokenizer_object=backend,
        **{f"{text[1:-1].lower()}_token": text for text in _BERT_SPECIALS if text != "[MASK]"},
        mask_token=AddedToken("[MASK]", lstrip=True, special=True, normalized=False),
        clean_up_tokenization_spaces=False,
        model_max_length=128,
    )
    return cast("PreTrainedTokenizerBase", tokenizer)


def _unigram() -> "PreTrainedTokenizerBase":
    """XLM-R's kind: likelier pieces are preferred, so a word is one token where it can be."""
    from tokenizers import AddedToken
    from transformers import XLMRobertaTokenizer

    characters = dict.fromkeys(string.ascii_letters + string.digits + string.punctuation)
    scores = {
        **dict.fromkeys(_ROBERTA_SPECIALS, 0.0),
        "\u2581": -6.0,
        **{f"\u2581{word}": -4.0 for word in COMMON_WORDS},
        **dict.fromkeys(characters, -9.0),
        **dict.fromkeys((piece.removeprefix("##") for piece in _PIECES), -8.0),
        "<mask>": 0.0,
    }
    tokenizer = cast(Any, XLMRobertaTokenizer)(
        vocab=[*scores.items()],
        mask_token=AddedToken("<mask>", lstrip=True, special=True, normalized=False),
        model_max_length=128,
    )
    return cast("PreTrainedTokenizerBase", tokenizer)


_TOKENIZERS: Final = {
    "bert": _wordpiece,
    "roberta": _roberta_bpe,
    "distilbert": _wordpiece,
    "electra": _wordpiece,
    "modernbert": _modernbert_bpe,
    "xlm-roberta": _unigram,
}
