"""Small changes of a template: what a person who uses the prompt may well do otherwise."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from rlprompt.tasks.template import MASK, Template

_MASK = f"{{{MASK}}}"


@dataclass(frozen=True)
class Change:
    """A changed template.

    Attributes:
        name: what was changed.
        template: the template after it.
        moves: whether the prompt stands elsewhere, without the white space that its text had
            around it.
    """

    name: str
    template: Template
    moves: bool = False

    def text(self, prompt: str) -> str:
        """Returns the text that goes into the changed template's slot for a prompt's text."""
        return prompt.strip() if self.moves else prompt


def changes(template: Template) -> list[Change]:
    r"""Returns the changes that can be made to a template, each by itself.

    With several slots the prompt stays where it is.

    >>> for change in changes(Template("{text}{prompt}")):
    ...     print(f"{change.name}: {change.template.source!r}")
    colon before the answer: '{text}{prompt}:'
    no space before the answer: '{text}{prompt}'
    input named: 'Text: {text}{prompt}'
    input in quotes: '"{text}"{prompt}'
    prompt on a line of its own: '{text}\n{prompt}'
    prompt before the input: '{prompt} {text}'
    """
    found = [*_around_answer(template), *_around_input(template)]
    if len(template.prompt_slots) == 1:
        found += _of_prompt(template)
    return [each for each in found if each.template != template]


def _around_answer(template: Template) -> Iterator[Change]:
    left, right = template.around_mask()
    # A colon behind punctuation is no small change.
    if re.search(r"[\w}]\s*$", left):
        space = left[len(left.rstrip()) :]
        middle = (space or " ") + _MASK if template.has_mask else ""
        yield Change("colon before the answer", _as(template, f"{left.rstrip()}:{middle}{right}"))
    if template.has_mask:
        if re.fullmatch(r"\s*[.!?]\s*", right):
            yield Change("nothing behind the answer", _as(template, left + _MASK))
        elif not right.strip():
            yield Change("full stop behind the answer", _as(template, f"{left}{_MASK}."))
    elif template.answer_prefix == " ":
        yield Change("no space before the answer", replace(template, answer_prefix=""))


def _around_input(template: Template) -> Iterator[Change]:
    named = quoted = template.source
    for name in template.fields:
        slot = f"{{{name}}}"
        named = named.replace(slot, f"{name.capitalize()}: {slot}")
        quoted = quoted.replace(slot, f'"{slot}"')
    yield Change("input named", _as(template, named))
    yield Change("input in quotes", _as(template, quoted))


def _of_prompt(template: Template) -> Iterator[Change]:
    size = template.prompt_slots[0].size
    slot = "{prompt}" if size is None else f"{{prompt:{size}}}"
    rest = template.with_slots([""])
    if not template.left_is_constant:
        line = template.with_slots([f"\n{slot}"])
        yield Change("prompt on a line of its own", _as(template, line), moves=True)
        before = f"{slot} {rest.lstrip()}"
        yield Change("prompt before the input", _as(template, before), moves=True)
    elif not template.right_is_constant:
        left, right = _as_if(template, rest)
        after = f"{left.strip()} {slot}{right}"
        yield Change("prompt behind the input", _as(template, after), moves=True)


def _as_if(template: Template, rest: str) -> tuple[str, str]:
    """Returns what stands before the answer, and the answer's slot with what is around it."""
    if not template.has_mask:
        return rest.rstrip(), ""
    left, _, right = rest.partition(_MASK)
    return left, f" {_MASK}{right}"


def _as(template: Template, source: str) -> Template:
    return replace(template, source=source)
