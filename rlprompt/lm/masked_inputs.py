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


@dataclass(frozen=True)
class MaskedInputs:
    """Token ids of one split in one template with ``{mask}``.

    Attributes:
        sides: ids left and right of the prompt, special tokens included; one of the two holds the
            mask token's id, once. A scorer repeats it for words of several tokens.
        mask_id: the mask token's id.
        bare: ids of each example with the empty prompt, where the two sides are one text.
    """

    sides: Inputs
    mask_id: int
    bare: tuple[Ids, ...]

    def row(self, example: int, prompt: Sequence[int], n_masks: int) -> tuple[Ids, int]:
        """Returns the ids of an example with a prompt, and where the first of its masks stands."""
        left, right = self.sides.left[example], self.sides.right[example]
        # By its place: whatever ids a prompt has, they are never taken for the slot.
        if not prompt:
            ids = self.bare[example]
            at = ids.index(self.mask_id)
        else:
            ids = (*left, *prompt, *right)
            in_left = self.mask_id in left
            at = ids.index(self.mask_id, 0 if in_left else len(left) + len(prompt))
        return ids[:at] + (self.mask_id,) * n_masks + ids[at + 1 :], at


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
) -> MaskedInputs:
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
    both = [sides(fields) for fields, _ in fitted]
    inputs = Inputs(
        left=tuple(left for left, _ in both),
        right=tuple(right for _, right in both),
        words=words,
        word_label=label,
        truncated=sum(cut for _, cut in fitted),
        longest=max((len(left + right) + reserved for left, right in both), default=0),
    )
    bare = [start + join(_without_prompt(template, f), tokenizer.encode) + end for f, _ in fitted]
    # Where two sides read together are longer than apart, there may be no room for that.
    fits = [
        ids
        if context is None or len(ids) + reserved - max_prompt_tokens <= context
        else left + right
        for ids, (left, right) in zip(bare, both, strict=True)
    ]
    return MaskedInputs(inputs, mask.id, tuple(fits))


def _without_prompt(template: Template, fields: Mapping[str, str]) -> tuple[str, ...]:
    """Returns the text for the empty prompt, cut at ``{mask}``."""
    left, right = template.sides(fields)
    return (*left[:-1], left[-1] + right[0], *right[1:])


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
