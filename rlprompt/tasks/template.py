"""Where input, prompt and answer stand."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from rlprompt.core.errors import TemplateError, suggest

_SLOT = re.compile(r"\{([a-zA-Z_][a-zA-Z0-9_]*)\}")
# Read from left to right, so that ``{{{text}}}`` is a slot in braces.
_BRACES_OR_SLOT = re.compile(rf"\{{\{{|\}}\}}|{_SLOT.pattern}")
# Stand for literal braces once the template is read.
_OPEN, _CLOSE = "\0", "\1"
_STANDS_FOR = {_OPEN: "{", _CLOSE: "}"}
PROMPT = "prompt"
MASK = "mask"


@dataclass(frozen=True)
class Template:
    r"""Input fields, one prompt slot and, for masked LMs, one answer slot, in the order of reading.

    For a causal LM the answer follows at the end of the rendered text. Rendering is plain
    substitution, so that anyone can do it; one rule is added: where a space stands right before
    ``{prompt}``, that space goes with the prompt and falls away when the prompt is empty.

    Attributes:
        source: the template, e.g. ``"{text}{prompt}"``; write ``{{`` and ``}}`` for braces.
        answer_prefix: what stands between the rendered text and a label word that is scored after
            it; one space for languages that put one between words.

    >>> Template("{text} {prompt}").render({"text": "Fine film."}, "It was")
    'Fine film. It was'
    >>> Template("{text} {prompt}").render({"text": "Fine film."}, "")
    'Fine film.'
    """

    source: str
    answer_prefix: str = " "

    def __post_init__(self) -> None:
        """Refuses a template that lacks a slot or has the prompt twice.

        Raises:
            TemplateError: with what to write instead.
        """
        slots = self.slots
        if slots.count(PROMPT) != 1:
            raise TemplateError(
                f"The template {self.source!r} must hold {{prompt}} exactly once, where the "
                f"learned prompt goes: write e.g. '{{text}}{{prompt}}'."
            )
        if slots.count(MASK) > 1:
            raise TemplateError(f"The template {self.source!r} has {{mask}} more than once.")
        if not self.fields:
            raise TemplateError(
                f"The template {self.source!r} has no input field: write e.g. "
                f"'{{text}}{{prompt}}', where {{text}} names a column of the data."
            )

    @property
    def slots(self) -> list[str]:
        """All slot names in order."""
        return _SLOT.findall(self._unescaped())

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the input fields, in order."""
        return tuple(dict.fromkeys(s for s in self.slots if s not in (PROMPT, MASK)))

    @property
    def own_texts(self) -> tuple[str, ...]:
        """The template's own text before, between and after its slots; may be empty strings."""
        between = _SLOT.split(self._unescaped())[::2]
        return tuple(self._fill(text, {}) for text in between)

    @property
    def has_mask(self) -> bool:
        """Whether the answer has a slot of its own, as masked LMs need."""
        return MASK in self.slots

    def around_mask(self) -> tuple[str, str]:
        """Returns the source left and right of ``{mask}``; without one all of it is left.

        >>> Template("{text}{prompt}: {mask}.").around_mask()
        ('{text}{prompt}: ', '.')
        """
        for match in _BRACES_OR_SLOT.finditer(self.source):
            if match[1] == MASK:
                return self.source[: match.start()], self.source[match.end() :]
        return self.source, ""

    def check_fields(self, names: Mapping[str, str]) -> None:
        """Checks that an example has every input field.

        Raises:
            TemplateError: names the missing field and the nearest one there is.
        """
        for name in self.fields:
            if name not in names:
                raise TemplateError(
                    f"The template {self.source!r} asks for {{{name}}}, which the examples "
                    f"lack.{suggest(name, names)} They have: {', '.join(names)}."
                )

    def split(self, fields: Mapping[str, str]) -> tuple[str, str]:
        """Returns the rendered text left and right of the prompt (which is not part of either).

        The one space that goes with the prompt (class docstring) is part of neither.
        """
        left, right = self._sides()
        return self._fill(left, fields), self._fill(right, fields)

    def sides(self, fields: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Returns what :meth:`split` returns, each side cut where ``{mask}`` stands.

        A side without ``{mask}`` is one text, the side with it two, either of which may be empty.

        >>> Template("{text} {prompt} {mask}.").sides({"text": "Fine film."})
        (('Fine film.',), (' ', '.'))
        """
        left, right = (
            tuple(self._fill(part, fields) for part in side.split(f"{{{MASK}}}"))
            for side in self._sides()
        )
        return left, right

    def piece(self, prompt_text: str) -> str:
        """Returns what is put between the two sides: the prompt text with its space, or ''."""
        return (" " if self._space_before and prompt_text else "") + prompt_text

    def text_of(self, piece: str) -> str:
        """Returns the prompt text whose piece is ``piece``: the opposite of :meth:`piece`."""
        return piece[1:] if self._space_before and piece.startswith(" ") else piece

    def render(self, fields: Mapping[str, str], prompt_text: str) -> str:
        """Returns the whole input for one example."""
        left, right = self.split(fields)
        return left + self.piece(prompt_text) + right

    @property
    def right_is_constant(self) -> bool:
        """Whether no input field stands right of the prompt."""
        return not any(s not in (PROMPT, MASK) for s in _SLOT.findall(self._sides()[1]))

    @property
    def left_is_constant(self) -> bool:
        """Whether no input field stands left of the prompt."""
        return not any(s not in (PROMPT, MASK) for s in _SLOT.findall(self._sides()[0]))

    def _unescaped(self) -> str:
        braces = {"{{": _OPEN, "}}": _CLOSE}
        return _BRACES_OR_SLOT.sub(lambda m: braces.get(m[0], m[0]), self.source)

    @property
    def _space_before(self) -> bool:
        return " {prompt}" in self._unescaped()

    def _sides(self) -> tuple[str, str]:
        slot = " {prompt}" if self._space_before else "{prompt}"
        left, _, right = self._unescaped().partition(slot)
        return left, right

    @staticmethod
    def _fill(side: str, fields: Mapping[str, str]) -> str:
        # One pass, so that nothing inside a field's text is read as part of the template.
        parts = re.compile(rf"[{_OPEN}{_CLOSE}]|{_SLOT.pattern}")
        return parts.sub(lambda m: _STANDS_FOR.get(m[0]) or fields.get(m[1], m[0]), side)
