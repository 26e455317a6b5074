"""Where input, prompt and answer stand."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from rlprompt.core.errors import ConfigError, TemplateError, suggest

PROMPT = "prompt"
MASK = "mask"
#: Stands between the texts of the prompt's slots, where a template has several.
SEPARATOR = "||"

# Read from left to right, so that ``{{{text}}}`` is a slot in braces. A space before the prompt's
# slot is part of the slot.
_TOKEN = re.compile(
    r"(?P<brace>\{\{|\}\})"
    rf"|(?P<prompt>(?P<space> )?\{{{PROMPT}(?::(?P<size>[^{{}}]*))?\}})"
    r"|\{(?P<name>[a-zA-Z_][a-zA-Z0-9_]*)\}"
)


@dataclass(frozen=True)
class PromptSlot:
    """A place for the prompt, or for its next tokens where the template has several.

    Attributes:
        size: tokens that go there; None for any number.
        space_before: whether a space before them comes and goes with them.
    """

    size: int | None
    space_before: bool

    def piece(self, text: str) -> str:
        """Returns what is put into the slot: the text with its space, or ''."""
        return (" " if self.space_before and text else "") + text

    def text_of(self, piece: str) -> str:
        """Returns the text whose piece is ``piece``: the opposite of :meth:`piece`."""
        return piece[1:] if self.space_before and piece.startswith(" ") else piece


@dataclass(frozen=True)
class _Slot:
    """A place for an input field or for the answer."""

    name: str


@dataclass(frozen=True)
class Template:
    r"""Input fields, the prompt's slot or slots and, for masked LMs, one for the answer, in order.

    For a causal LM the answer follows at the end of the rendered text. Rendering is plain
    substitution, so that anyone can do it; one rule is added: where a space stands right before
    ``{prompt}``, that space goes with the prompt and falls away when the prompt is empty.

    ``{prompt:N}`` is a slot for N tokens. Masked and encoder-decoder LMs take templates with
    several: the prompt's first tokens stand in the first slot, the next ones in the second. The
    text of such a prompt is the texts of its slots with ``||`` between them; empty slots at the end
    are left out.

    Attributes:
        source: the template, e.g. ``"{text}{prompt}"``; write ``{{`` and ``}}`` for braces.
        answer_prefix: what stands between the rendered text and a label word that is scored after
            it; one space for languages that put one between words.

    >>> Template("{text} {prompt}").render({"text": "Fine film."}, "It was")
    'Fine film. It was'
    >>> Template("{text} {prompt}").render({"text": "Fine film."}, "")
    'Fine film.'
    >>> several = Template("{prompt:1} {text} {prompt:2} {mask}")
    >>> several.render({"text": "Fine film."}, "Review:||It was")
    'Review: Fine film. It was {mask}'
    """

    source: str
    answer_prefix: str = " "

    def __post_init__(self) -> None:
        """Refuses a template that lacks a slot, or has several for the prompt without sizes.

        Raises:
            TemplateError: with what to write instead.
        """
        for match in _TOKEN.finditer(self.source):
            if match["size"] is not None and not re.fullmatch("[1-9][0-9]*", match["size"]):
                raise TemplateError(
                    f"The template {self.source!r} has {match['prompt'].strip()}, but the size of "
                    "a slot is a number of tokens: write e.g. {prompt:2}."
                )
        slots = self.prompt_slots
        if not slots:
            raise TemplateError(
                f"The template {self.source!r} has no {{prompt}}, where the learned prompt goes: "
                "write e.g. '{text}{prompt}'."
            )
        if len(slots) > 1 and len(self.sizes) < len(slots):
            sized = [slot.piece(f"{{{PROMPT}:{slot.size or 2}}}") for slot in slots]
            raise TemplateError(
                f"The template {self.source!r} has {{prompt}} {len(slots)} times, so each must say "
                f"how many tokens go there: write e.g. {self.with_slots(sized)!r}."
            )
        if self.slots.count(MASK) > 1:
            raise TemplateError(f"The template {self.source!r} has {{mask}} more than once.")
        if not self.fields:
            raise TemplateError(
                f"The template {self.source!r} has no input field: write e.g. "
                f"'{{text}}{{prompt}}', where {{text}} names a column of the data."
            )

    @property
    def slots(self) -> list[str]:
        """All slot names in order."""
        return [
            PROMPT if isinstance(part, PromptSlot) else part.name
            for part in self._parts
            if not isinstance(part, str)
        ]

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the input fields, in order."""
        return tuple(dict.fromkeys(s for s in self.slots if s not in (PROMPT, MASK)))

    @cached_property
    def prompt_slots(self) -> tuple[PromptSlot, ...]:
        """The slots of the prompt, in order."""
        return tuple(part for part in self._parts if isinstance(part, PromptSlot))

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Tokens of each of the prompt's slots; empty for a single slot without a size."""
        return tuple(slot.size for slot in self.prompt_slots if slot.size is not None)

    @property
    def own_texts(self) -> tuple[str, ...]:
        """The template's own text before, between and after its slots; may be empty strings."""
        texts = [""]
        for part in self._parts:
            if isinstance(part, str):
                texts[-1] += part
                continue
            texts[-1] += " " if isinstance(part, PromptSlot) and part.space_before else ""
            texts.append("")
        return tuple(texts)

    @property
    def has_mask(self) -> bool:
        """Whether the answer has a slot of its own, as masked LMs need."""
        return MASK in self.slots

    def around_mask(self) -> tuple[str, str]:
        """Returns the source left and right of ``{mask}``; without one all of it is left.

        >>> Template("{text}{prompt}: {mask}.").around_mask()
        ('{text}{prompt}: ', '.')
        """
        for match in _TOKEN.finditer(self.source):
            if match["name"] == MASK:
                return self.source[: match.start()], self.source[match.end() :]
        return self.source, ""

    def with_slots(self, sources: Sequence[str]) -> str:
        """Returns the source with others in place of the prompt's slots and of their spaces.

        >>> Template("{text} {prompt}.").with_slots([" It was"])
        '{text} It was.'
        """
        given = iter(sources)
        return _TOKEN.sub(lambda m: next(given) if m["prompt"] else m[0], self.source)

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

    def check_length(self, length: int) -> None:
        """Checks that prompts of ``length`` tokens fill the slots.

        Raises:
            ConfigError: the slots have sizes that add up to another number.
        """
        if self.sizes and length != sum(self.sizes):
            raise ConfigError(
                f"The slots of the template {self.source!r} hold {sum(self.sizes)} tokens, not "
                f"{length}: give --length {sum(self.sizes)}, or other sizes."
            )

    def split(self, fields: Mapping[str, str]) -> tuple[str, ...]:
        """Returns the rendered text left of, between and right of the prompt's slots.

        The one space that goes with a slot (class docstring) is part of none.
        """
        return tuple(f"{{{MASK}}}".join(side) for side in self.sides(fields))

    def sides(self, fields: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
        """Returns what :meth:`split` returns, each side cut where ``{mask}`` stands.

        A side without ``{mask}`` is one text, the side with it two, either of which may be empty.

        >>> Template("{text} {prompt} {mask}.").sides({"text": "Fine film."})
        (('Fine film.',), (' ', '.'))
        """
        sides = [[""]]
        for part in self._parts:
            if isinstance(part, PromptSlot):
                sides.append([""])
            elif isinstance(part, str):
                sides[-1][-1] += part
            elif part.name == MASK:
                sides[-1].append("")
            else:
                sides[-1][-1] += fields.get(part.name, f"{{{part.name}}}")
        return tuple(map(tuple, sides))

    def slot_texts(self, prompt_text: str) -> tuple[str, ...]:
        """Returns the text of each slot of a prompt; in a single slot ``||`` is ordinary text."""
        count = len(self.prompt_slots)
        texts = prompt_text.split(SEPARATOR, count - 1)
        return (*texts, *[""] * (count - len(texts)))

    def pieces(self, prompt_text: str) -> tuple[str, ...]:
        """Returns what is put into each slot: its text with its space, or ''."""
        texts = self.slot_texts(prompt_text)
        return tuple(s.piece(text) for s, text in zip(self.prompt_slots, texts, strict=True))

    def texts_of(self, pieces: Sequence[str]) -> tuple[str, ...]:
        """Returns the text of each slot whose pieces these are."""
        return tuple(s.text_of(piece) for s, piece in zip(self.prompt_slots, pieces, strict=True))

    def text_of(self, pieces: Sequence[str]) -> str:
        """Returns the prompt text whose pieces these are: the opposite of :meth:`pieces`."""
        texts = [*self.texts_of(pieces)]
        while len(texts) > 1 and not texts[-1]:
            texts.pop()
        return SEPARATOR.join(texts)

    def render(self, fields: Mapping[str, str], prompt_text: str) -> str:
        """Returns the whole input for one example."""
        return f"{{{MASK}}}".join(self.render_around_mask(fields, prompt_text))

    def render_around_mask(self, fields: Mapping[str, str], prompt_text: str) -> tuple[str, ...]:
        """Returns the whole input for one example, cut where ``{mask}`` stands."""
        first, *others = self.sides(fields)
        pieces = self.pieces(prompt_text)
        return joined([first, *((p + s[0], *s[1:]) for p, s in zip(pieces, others, strict=True))])

    @property
    def right_is_constant(self) -> bool:
        """Whether no input field stands right of the prompt, that is of its last slot."""
        slots = self.slots[::-1]
        return set(slots[: slots.index(PROMPT)]) <= {MASK}

    @property
    def left_is_constant(self) -> bool:
        """Whether no input field stands left of the prompt, that is of its first slot."""
        return set(self.slots[: self.slots.index(PROMPT)]) <= {MASK}

    @cached_property
    def _parts(self) -> tuple[str | PromptSlot | _Slot, ...]:
        """The source as it is read: texts and slots in order."""
        parts: list[str | PromptSlot | _Slot] = []
        end = 0
        for match in _TOKEN.finditer(self.source):
            parts.append(self.source[end : match.start()])
            end = match.end()
            if match["brace"]:
                parts.append(match["brace"][0])
            elif match["prompt"]:
                size = match["size"]
                parts.append(PromptSlot(int(size) if size else None, bool(match["space"])))
            else:
                parts.append(_Slot(match["name"]))
        return (*parts, self.source[end:])


def joined(sides: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """Joins sides of a template with nothing between them; the cut at ``{mask}`` stays.

    >>> joined([("Fine film.",), (" ", "."), (" So",)])
    ('Fine film. ', '. So')
    """
    texts = [""]
    for first, *others in sides:
        texts[-1] += first
        texts += others
    return tuple(texts)
