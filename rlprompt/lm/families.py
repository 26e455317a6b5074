"""Which family of LMs a checkpoint belongs to, and what loads and scores that family."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from rlprompt.lm.protocol import FrozenLM

FAMILIES: Final = ("causal", "masked", "seq2seq")


def family_of(config: "PreTrainedConfig") -> str:
    """Returns the family of a checkpoint.

    The class that it was saved as decides, since many architectures have several (BERT: masked and
    causal). Where that is no LM, or not said, it is what transformers has for the architecture,
    masked before causal; and where transformers has nothing, what the checkpoint's own code has.
    """
    if config.is_encoder_decoder:
        return "seq2seq"
    known = _class_names()
    saved_as = config.architectures or []
    for family in ("masked", "causal"):
        if any(name in known[family].values() for name in saved_as):
            return family
    own_code = getattr(config, "auto_map", None) or {}
    if config.model_type in known["masked"]:
        return "causal" if getattr(config, "is_decoder", False) else "masked"
    masked_only = "AutoModelForMaskedLM" in own_code and "AutoModelForCausalLM" not in own_code
    return "masked" if masked_only else "causal"


def auto_model(family: str) -> Any:
    """Returns transformers' class that loads a family with its head."""
    import transformers

    names = {
        "causal": "AutoModelForCausalLM",
        "masked": "AutoModelForMaskedLM",
        "seq2seq": "AutoModelForSeq2SeqLM",
    }
    return getattr(transformers, names[family])


def wrapper(family: str) -> "Callable[..., FrozenLM]":
    """Returns our class for a family: called with model, tokenizer, name and revision."""
    if family == "masked":
        from rlprompt.lm.masked import MaskedLM

        return MaskedLM
    if family == "seq2seq":
        from rlprompt.lm.seq2seq import Seq2SeqLM

        return Seq2SeqLM
    from rlprompt.lm.causal import CausalLM

    return CausalLM


def _class_names() -> dict[str, dict[str, str]]:
    """Returns transformers' LM classes of each family by model type."""
    from transformers.models.auto import modeling_auto as auto

    return {
        "causal": dict(auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES),
        "masked": dict(auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES),
    }
