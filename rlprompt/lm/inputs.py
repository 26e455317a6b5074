"""From examples and a template to token ids around the prompt."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from rlprompt.core.errors import ConfigError, DataError, TemplateError
from rlprompt.lm.adapting import one_slot, without_mask
from rlprompt.lm.tokenizer import HFTokenizer
from rlprompt.tasks.examples import Example
from rlprompt.tasks.template import Template
from rlprompt.tasks.verbalizer import Verbalizer

log = logging.getLogger(__name__)

Ids = tuple[int, ...]
#: Ids left of, between and right of the prompt's slots for the fields of one example, special
#: tokens included.
Sides = Callable[[Mapping[str, str]], tuple[Ids, ...]]


@dataclass(frozen=True)
class Inputs:
    """Token ids of one split in one template.

    Attributes:
        sides: ids left of, between and right of the prompt's slots, special tokens included, one
            tuple an example.
        words: ids of every label word, label by label.
        word_label: label index of each word.
        truncated: how many examples' text was cut.
        longest: most tokens one sequence can have, prompt and answer included.
    """

    sides: tuple[tuple[Ids, ...], ...]
    words: tuple[Ids, ...]
    word_label: tuple[int, ...]
    truncated: int
    longest: int

    @cached_property
    def left(self) -> tuple[Ids, ...]:
        """Ids left of the prompt, one tuple an example."""
        return tuple(sides[0] for sides in self.sides)

    @cached_property
    def right(self) -> tuple[Ids, ...]:
        """Ids right of the prompt, one tuple an example."""
        return tuple(sides[-1] for sides in self.sides)

    @property
    def single_token_words(self) -> bool:
        """Whether every label word is one token."""
        return all(len(word) == 1 for word in self.words)


def word_ids(
    tokenizer: HFTokenizer, template: Template, verbalizer: Verbalizer
) -> tuple[tuple[int, ...], ...]:
    """Returns the ids of every label word as it follows the rendered text.

    Logs which words the tokenizer splits, once for each tokenizer.

    Raises:
        TemplateError: a word is unknown to the tokenizer, or two words have the same ids.
    """
    unknown = tokenizer.hf.unk_token_id
    found: dict[tuple[int, ...], str] = {}
    for word in verbalizer.flat:
        ids = tokenizer.encode(template.answer_prefix + word)
        if not ids or (unknown is not None and unknown in ids):
            raise TemplateError(
                f"The tokenizer does not know the label word {word!r}; choose another."
            )
        if ids in found:
            raise TemplateError(
                f"The label words {found[ids]!r} and {word!r} are the same to the tokenizer."
            )
        found[ids] = word
        if len(ids) > 1 and tokenizer.tell_once(word):
            pieces = " + ".join(repr(tokenizer.decode([i])) for i in ids)
            log.warning(
                "The tokenizer splits the label word %r into %s: it is scored as %d tokens.",
                word,
                pieces,
                len(ids),
            )
    return tuple(found)


def causal_inputs(
    tokenizer: HFTokenizer,
    template: Template,
    verbalizer: Verbalizer,
    examples: Sequence[Example],
    *,
    max_prompt_tokens: int,
    context: int | None,
) -> Inputs:
    """Tokenizes examples for an LM that answers after the rendered text.

    Raises:
        TemplateError: the template does not suit a causal LM.
        ConfigError: prompt and answer do not fit the context even without the text.
        DataError: an example leaves nothing for the LM to read.
    """
    if len(template.prompt_slots) > 1:
        raise TemplateError(
            f"The template {template.source!r} has {len(template.prompt_slots)} slots for the "
            "prompt, but a causal LM takes one: write e.g. "
            f"{one_slot(without_mask(template)).source!r}."
        )
    if template.has_mask:
        raise TemplateError(
            f"The template {template.source!r} has {{mask}}, but a causal LM answers at the end: "
            f"write {template.source.replace('{mask}', '').rstrip()!r}."
        )
    if template.source.endswith(" ") and template.answer_prefix.startswith(" "):
        raise TemplateError(
            f"The template {template.source!r} ends with a space, and the label word brings its "
            f"own: write {template.source.rstrip(' ')!r}."
        )
    words = word_ids(tokenizer, template, verbalizer)
    label = tuple(n for n, group in enumerate(verbalizer.words) for _ in group)
    reserved = max_prompt_tokens + max(map(len, words))
    start = tokenizer.start_ids

    def sides(fields: Mapping[str, str]) -> tuple[Ids, ...]:
        left, right = template.split(fields)
        return start + tokenizer.encode(left), tokenizer.encode(right)

    all_sides, truncated, longest = [], 0, 0
    for example in examples:
        fields, cut = fit(tokenizer, template, example, sides, context, reserved)
        around = sides(fields)
        if not any(around):
            raise DataError(
                f"An example is empty in the template {template.source!r}: the LM would have to "
                "answer after nothing. Give it a text, or put a word into the template."
            )
        all_sides.append(around)
        truncated += cut
        longest = max(longest, total(around) + reserved)
    return Inputs(tuple(all_sides), words, label, truncated, longest)


def total(sides: Sequence[Ids]) -> int:
    """Returns how many tokens there are around the prompt."""
    return sum(map(len, sides))


def fit(
    tokenizer: HFTokenizer,
    template: Template,
    example: Example,
    sides: Sides,
    context: int | None,
    reserved: int,
) -> tuple[Mapping[str, str], bool]:
    """Cuts an example's text where it is too long.

    Args:
        tokenizer: the LM's own tokenizer.
        template: where the fields stand.
        example: the example.
        sides: gives the ids around the prompt.
        context: most tokens that the LM reads; None for any number.
        reserved: tokens that prompt and answer need beside these.

    Returns:
        The fields, and whether one was cut.

    Raises:
        TemplateError: the example lacks a field.
        ConfigError: prompt and answer do not fit even without the text.
    """
    template.check_fields(example.fields)
    if context is None or total(sides(example.fields)) + reserved <= context:
        return example.fields, False
    return _shorten(tokenizer, template, dict(example.fields), sides, context, reserved), True


def _shorten(
    tokenizer: HFTokenizer,
    template: Template,
    fields: dict[str, str],
    sides: Sides,
    context: int,
    reserved: int,
) -> dict[str, str]:
    """Cuts the end of the longest field until everything fits; the field keeps one token."""
    while True:
        excess = total(sides(fields)) + reserved - context
        if excess <= 0:
            return fields
        ids = {name: tokenizer.encode(fields[name]) for name in template.fields}
        longest = max(ids, key=lambda name: len(ids[name]))
        if len(ids[longest]) <= 1:
            raise ConfigError(
                f"Prompt and answer ({reserved} tokens) do not fit the LM's context of {context} "
                "tokens beside the template, even with the text cut to one token: ask for a "
                "shorter prompt or shorten the template."
            )
        kept = max(1, len(ids[longest]) - excess)
        # A cut within a character leaves a replacement character, which is not of the text.
        shortened = tokenizer.decode(ids[longest][:kept]).rstrip("\ufffd")
        if not fields[longest].startswith(" "):
            shortened = shortened.removeprefix(" ")
        # Cut ids can decode to a text that encodes to as many again.
        while len(tokenizer.encode(shortened)) > kept:
            shortened = shortened[:-1]
        fields[longest] = shortened
