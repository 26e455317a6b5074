"""From examples and a template with ``{mask}`` to token ids around the prompt."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from rlprompt.core.errors import LMError, TemplateError
from rlprompt.core.prompt import Prompt
from rlprompt.lm.inputs import Ids, Inputs, fit, total, word_ids
from rlprompt.lm.tokenizer import HFTokenizer
from rlprompt.tasks.examples import Example
from rlprompt.tasks.template import Template, joined
from rlprompt.tasks.verbalizer import Verbalizer


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
        inputs: ids around the prompt's slots; the mask token's id is in them once. A scorer repeats
            it for words of several tokens.
        joined: gives the ids around those slots that are filled, for an example and, slot by slot,
            whether it is; what stands left and right of an empty slot is one text.
        sizes: tokens of each of the template's slots, see :meth:`Prompt.parts`.
        mask_id: the mask token's id.
        context: most tokens that the LM reads; None for any number.
    """

    inputs: Inputs
    joined: Callable[[int, tuple[bool, ...]], tuple[Ids, ...]]
    sizes: tuple[int, ...]
    mask_id: int
    context: int | None

    def row(self, example: int, prompt: Prompt, n_masks: int) -> tuple[Ids, int]:
        """Returns the ids of an example with a prompt, and where the first of its masks stands."""
        parts = prompt.parts(self.sizes)
        if all(parts):
            ids, at = self._filled(self.inputs.sides[example], parts)
        else:
            sides = self.joined(example, tuple(map(bool, parts)))
            ids, at = self._filled(sides, [part for part in parts if part])
            longest = max(map(len, self.inputs.words))
            # Where two sides read together are longer than apart, there may be no room for that.
            if self.context is not None and len(ids) - 1 + longest > self.context:
                ids, at = self._filled(self.inputs.sides[example], parts)
        return ids[:at] + (self.mask_id,) * n_masks + ids[at + 1 :], at

    def _filled(self, sides: Sequence[Ids], parts: Sequence[Ids]) -> tuple[Ids, int]:
        """Puts the prompt between the sides; returns also where the mask stands."""
        ids: list[int] = []
        at = 0
        for side, part in zip(sides, (*parts, ()), strict=True):
            # By its place: whatever ids a prompt has, they are never taken for the slot.
            if self.mask_id in side:
                at = len(ids) + side.index(self.mask_id)
            ids += side
            ids += part
        return tuple(ids), at


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
        max_prompt_tokens: longest prompt that will be put into the slots.
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

    def ids_of(sides: Sequence[tuple[str, ...]]) -> tuple[Ids, ...]:
        first, *others = sides
        ids = [join(first, tokenizer.encode), *(join(side, after_prompt) for side in others)]
        ids[0] = start + ids[0]
        ids[-1] = ids[-1] + end
        return tuple(ids)

    def join(texts: tuple[str, ...], encode_first: Callable[[str], Ids]) -> Ids:
        if len(texts) == 1:
            return encode_first(texts[0])
        before, after = texts
        before = before.rstrip() if mask.lstrip else before
        after = after.lstrip() if mask.rstrip else after
        return (*encode_first(before), mask.id, *tokenizer.encode(after))

    def after_prompt(text: str) -> Ids:
        return _encode_after_word(tokenizer, text)

    def around(fields: Mapping[str, str]) -> tuple[Ids, ...]:
        return ids_of(template.sides(fields))

    # One mask is in the sides already.
    reserved = max_prompt_tokens + max(map(len, words)) - 1
    fitted = [fit(tokenizer, template, e, around, context, reserved) for e in examples]
    sides = tuple(around(fields) for fields, _ in fitted)

    @cache
    def joined_ids(example: int, filled: tuple[bool, ...]) -> tuple[Ids, ...]:
        fields, _ = fitted[example]
        return ids_of(_without_empty(template.sides(fields), filled))

    inputs = Inputs(
        sides=sides,
        words=words,
        word_label=label,
        truncated=sum(cut for _, cut in fitted),
        longest=max((total(each) + reserved for each in sides), default=0),
    )
    return MaskedInputs(inputs, joined_ids, template.sizes, mask.id, context)


def _without_empty(
    sides: Sequence[tuple[str, ...]], filled: Sequence[bool]
) -> list[tuple[str, ...]]:
    """Joins the sides left and right of slots that are not filled."""
    found = [sides[0]]
    for full, side in zip(filled, sides[1:], strict=True):
        if full:
            found.append(side)
        else:
            found[-1] = joined([found[-1], side])
    return found


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
