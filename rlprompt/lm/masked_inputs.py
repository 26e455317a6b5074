"""From examples and a template with ``{mask}`` to token ids on both sides of the prompt."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rlprompt.core.errors import LMError, TemplateError
from rlprompt.lm.inputs import Inputs, fit, word_ids
from rlprompt.lm.tokenizer import HFTokenizer
from rlprompt.tasks.examples import Example
from rlprompt.tasks.template import Template
from rlprompt.tasks.verbalizer import Verbalizer

Ids = tuple[int, ...]


@dataclass(frozen=True)
class MaskToken:
    """The token that stands for what is to be predicted.

    Attributes:
        id: its id.
        lstrip: whether it takes the white space before it (RoBERTa's does).
        rstrip: whether it takes the white space after it.
    """

    id: int
    lstrip: bool
    rstrip: bool


def mask_token(tokenizer: HFTokenizer) -> MaskToken:
    """Returns a tokenizer's mask token.

    Raises:
        LMError: it has none.
    """
    id_ = tokenizer.hf.mask_token_id
    if not isinstance(id_, int):
        raise LMError(
            "The tokenizer has no mask token, so a masked LM cannot be asked with it: take the "
            "tokenizer that the LM was trained with, or set its mask_token."
        )
    added = tokenizer.hf.added_tokens_decoder.get(id_)
    return MaskToken(id_, bool(added and added.lstrip), bool(added and added.rstrip))


def masked_inputs(
    tokenizer: HFTokenizer,
    template: Template,
    verbalizer: Verbalizer,
    examples: Sequence[Example],
    *,
    max_prompt_tokens: int,
    context: int | None,
) -> Inputs:
    """Tokenizes examples for an LM that answers where ``{mask}`` stands.

    The ids are those that the tokenizer gives for the whole rendered text, with its own mask token
    for ``{mask}`` and its special tokens around. Text that merely spells a special token gives
    ordinary ids.

    Args:
        tokenizer: takes texts as prose, and has a mask token.
        template: has ``{mask}``.
        verbalizer: words of each label.
        examples: the examples.
        max_prompt_tokens: longest prompt that will be put between the two sides.
        context: most tokens that the LM reads; None for any number.

    Returns:
        Inputs whose ``left`` or ``right`` holds the mask token's id, once; a scorer repeats it for
        words of several tokens.

    Raises:
        TemplateError: the template or a label word does not suit a masked LM.
        ConfigError: prompt and answer do not fit the context even without the text.
    """
    _check(tokenizer, template)
    mask = mask_token(tokenizer)
    words = word_ids(tokenizer, template, verbalizer)
    label = tuple(n for n, group in enumerate(verbalizer.words) for _ in group)
    start, end = tokenizer.start_ids, tokenizer.end_ids

    def sides(fields: Mapping[str, str]) -> tuple[Ids, Ids]:
        left, right = template.sides(fields)
        return start + join(left, tokenizer.encode), join(right, after_prompt) + end

    def join(texts: tuple[str, ...], encode_first: Callable[[str], Ids]) -> Ids:
        if len(texts) == 1:
            return encode_first(texts[0])
        before, after = texts
        before = before.rstrip() if mask.lstrip else before
        after = after.lstrip() if mask.rstrip else after
        return (*encode_first(before), mask.id, *tokenizer.encode(after))

    def after_prompt(text: str) -> Ids:
        return _encode_after_word(tokenizer, text)

    # One mask is in the sides already.
    reserved = max_prompt_tokens + max(map(len, words)) - 1
    fitted = [fit(tokenizer, template, e, sides, context, reserved) for e in examples]
    return Inputs(
        left=tuple(left for left, _, _ in fitted),
        right=tuple(right for _, right, _ in fitted),
        words=words,
        word_label=label,
        truncated=sum(cut for _, _, cut in fitted),
        longest=max((len(left + right) + reserved for left, right, _ in fitted), default=0),
    )


def _check(tokenizer: HFTokenizer, template: Template) -> None:
    """Refuses templates that cannot be meant for a masked LM.

    Raises:
        TemplateError: there is no ``{mask}``, or a special token is spelled out.
    """
    source = template.source
    names = [str(tokenizer.hf.convert_ids_to_tokens(i)) for i in sorted(tokenizer.special_ids)]
    spelled = [name for name in names if any(name in text for text in template.own_texts)]
    mask = str(tokenizer.hf.mask_token)
    if mask in spelled:
        raise TemplateError(
            f"The template {source!r} spells the mask token {mask!r}: write {{mask}} in its place, "
            "which stands for the mask token of any LM."
        )
    if spelled:
        raise TemplateError(
            f"The template {source!r} spells the special token {spelled[0]!r}: leave it out, the "
            "tokenizer puts its own around the text."
        )
    if not template.has_mask:
        raise TemplateError(
            f"The template {source!r} has no {{mask}}, which is where a masked LM answers: write "
            f"e.g. {source.rstrip() + ' {mask}'!r}."
        )


def _encode_after_word(tokenizer: HFTokenizer, text: str) -> Ids:
    """Returns the ids of a text that goes on right after a word, as ``": "`` may.

    SentencePiece puts a space before every text that it is given by itself.
    """
    if not text or text[0].isspace() or text[0].isalnum():
        return tokenizer.encode(text)
    word, whole = tokenizer.encode("a"), tokenizer.encode("a" + text)
    return whole[len(word) :] if whole[: len(word)] == word else tokenizer.encode(text)
