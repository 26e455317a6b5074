"""The template with the learned prompt in it, in the notations that other tools read.

Within this package an input is a Python format string: ``"{text} this is also"``. Where the LM
answers at a mask there are two, what stands before the mask and what stands after it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from string import Formatter

from rlprompt.tasks.template import MASK, Template


def filled(template: Template, prompt: str) -> tuple[str, ...]:
    """Puts a prompt into a template.

    >>> filled(Template("{text} {prompt}: {mask}."), "It {was}")
    ('{text} It {{was}}: ', '.')
    """
    # Names that no text has: rendering puts the fields' names back into the template's own text.
    marks = {name: f"\0{n}\0" for n, name in enumerate(template.fields)}
    texts = []
    for text in template.render_around_mask(marks, prompt):
        escaped = _escaped(text)
        for name, mark in marks.items():
            escaped = escaped.replace(mark, f"{{{name}}}")
        texts.append(escaped)
    return tuple(texts)


def render(texts: Sequence[str], fields: Mapping[str, str]) -> tuple[str, ...]:
    """Puts fields into inputs.

    >>> render(["{text} It {{was}}: ", "."], {"text": "Fine."})
    ('Fine. It {was}: ', '.')
    """
    return tuple(text.format_map(fields) for text in texts)


def shown(texts: Sequence[str]) -> str:
    """Returns an input as one string, with ``{mask}`` where the LM answers."""
    return f"{{{MASK}}}".join(texts)


def to_jinja(text: str) -> str:
    """Writes a format string as a template of Jinja, which Nunjucks reads as well.

    >>> to_jinja("{text} this is also")
    '{{ text }} this is also'
    >>> to_jinja("{text} so {{it}} is")
    '{{ text }}{{ " so {it} is" }}'
    """
    return "".join(
        f"{{{{ {part} }}}}" if is_field else _literal(part) for part, is_field in parts(text)
    )


def parts(text: str) -> Iterator[tuple[str, bool]]:
    """Yields the texts and the fields of a format string in order, and which of both it is."""
    literal = ""
    for before, name, _, _ in Formatter().parse(text):
        literal += before
        if name is not None:
            if literal:
                yield literal, False
            yield name, True
            literal = ""
    if literal:
        yield literal, False


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _literal(text: str) -> str:
    """Returns a text that no template engine reads anything into."""
    return f"{{{{ {json.dumps(text, ensure_ascii=False)} }}}}" if {*"{}"} & {*text} else text
