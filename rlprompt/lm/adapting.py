"""How a template that was written for LMs of one family is written for another family."""

from dataclasses import replace

from rlprompt.core.errors import TemplateError
from rlprompt.lm.protocol import AdaptsTemplates, FrozenLM
from rlprompt.tasks.template import MASK, PROMPT, Template


def adapted(lm: FrozenLM, template: Template) -> Template:
    """Returns the template as an LM needs it; as it is, where the LM adapts none.

    Raises:
        TemplateError: it cannot be written for this LM.
    """
    return lm.adapt(template) if isinstance(lm, AdaptsTemplates) else template


def with_mask(template: Template) -> Template:
    """Puts ``{mask}`` and a full stop where the answer would have followed.

    The full stop, because a text's last token is nearly always one: with nothing behind it, a mask
    asks for punctuation rather than for a word. Templates with ``{mask}`` come back as they are.

    >>> with_mask(Template("{text}{prompt}")).source
    '{text}{prompt} {mask}.'
    """
    if template.has_mask:
        return template
    space = " " if template.answer_prefix[:1].isspace() else ""
    return replace(template, source=f"{template.source.rstrip()}{space}{{mask}}.")


def without_mask(template: Template) -> Template:
    """Takes ``{mask}`` out of the end, with the punctuation behind it: the answer follows anyway.

    Templates without ``{mask}`` come back as they are.

    Raises:
        TemplateError: more than punctuation stands behind ``{mask}``.

    >>> without_mask(Template("{text} {prompt} {mask} .")).source
    '{text} {prompt}'
    """
    left, right = template.around_mask()
    # The name of a slot has letters, too.
    if any(character.isalnum() for character in right):
        raise TemplateError(
            f"The template {template.source!r} has {right.strip()!r} behind {{mask}}, but a causal "
            f"LM answers at the end: write e.g. {_answer_last(template, left)!r}."
        )
    return replace(template, source=left.rstrip()) if template.has_mask else template


def one_slot(template: Template) -> Template:
    """Leaves out all of the prompt's slots but the last, which then takes any number of tokens.

    Templates with one slot come back as they are.

    >>> one_slot(Template("{prompt:2} {text} {prompt:3}")).source
    '{text} {prompt}'
    """
    *others, slot = template.prompt_slots
    if not others:
        return template
    last = slot.piece(f"{{{PROMPT}}}")
    source = template.with_slots([*("" for _ in others), last])
    return replace(template, source=source.lstrip(" "))


def _answer_last(template: Template, left: str) -> str:
    """Returns a template in which the answer comes last, for an LM that takes one slot."""
    before = template.slots[: template.slots.index(MASK)]
    if {*template.slots} == {*before, MASK}:
        return one_slot(replace(template, source=left.rstrip())).source
    return " ".join(f"{{{name}}}" for name in template.fields) + f"{{{PROMPT}}}"
