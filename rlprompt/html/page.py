"""Templates filled in and written: one file, with everything in it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlprompt.core.errors import RunError
from rlprompt.core.files import write_text
from rlprompt.core.statistics import Estimate
from rlprompt.core.version import __version__
from rlprompt.html.scales import MINUS
from rlprompt.tasks.optional import need

#: What a prompt's characters look like that nobody would see.
VISIBLE = {" ": "·", "\n": "↵", "\t": "→", "\u00a0": "⍽"}


def render(template: str, page: Any) -> str:
    """Returns the HTML of a page.

    Args:
        template: name of a file in ``templates``.
        page: what it shows.

    Raises:
        ConfigError: Jinja2 is not installed.
        ValueError: the page lacks a value.
    """
    need("jinja2", "rlprompt[report]", "A report in HTML")
    from jinja2 import Environment, PackageLoader, StrictUndefined, UndefinedError

    environment = Environment(
        loader=PackageLoader("rlprompt.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": count,
        "number": number,
        "signed": signed,
        "interval": interval,
        "quoted": repr,
        "visible": visible,
        "plain": plain,
        "size": size,
        "duration": duration,
        "taken": taken,
    }
    filled = environment.get_template(template)
    try:
        return filled.render(page=page, version=__version__)
    except UndefinedError as error:
        raise ValueError(str(error)) from error


def write_page(path: Path, text: str) -> None:
    """Writes a page, whole or not at all.

    Raises:
        RunError: its folder is not there, or it cannot be written.
    """
    if path.is_dir():
        raise RunError(f"{path} is a folder: name a file, as {path / 'report.html'}.")
    if not path.parent.is_dir():
        raise RunError(f"No folder {path.parent} to write {path.name} into: make it first.")
    write_text(path, text)


def count(value: float | None) -> str:
    """Writes a whole number with its thousands apart, a dash for none."""
    return "—" if value is None else f"{round(value):,}"


def number(value: float | None, digits: int = 3) -> str:
    """Writes a number, a dash for none; with a true minus sign."""
    return "—" if value is None else f"{value:,.{digits}f}".replace("-", MINUS)


def signed(value: Estimate | float | None, digits: int = 3) -> str:
    """Writes a difference with its sign, and with its interval where it has one."""
    if value is None:
        return "—"
    if isinstance(value, Estimate):
        low, high = (signed(end, digits) for end in (value.low, value.high))
        return f"{signed(value.value, digits)} [{low}, {high}]"
    return f"{value:+,.{digits}f}".replace("-", MINUS)


def interval(ends: Sequence[float | None] | None, digits: int = 3) -> str:
    """Writes an interval, nothing for none."""
    if ends is None or None in ends:
        return ""
    return f"[{', '.join(number(end, digits) for end in ends)}]"


def visible(text: str) -> list[tuple[str, str]]:
    """Cuts a text into pieces, each with what is shown in its place: '' for itself.

    >>> visible(" a b")
    [(' ', '·'), ('a', ''), (' ', '·'), ('b', '')]
    """
    pieces: list[tuple[str, str]] = []
    for letter in text:
        shown = VISIBLE.get(letter, "")
        if not shown and pieces and not pieces[-1][1]:
            pieces[-1] = (pieces[-1][0] + letter, "")
        else:
            pieces.append((letter, shown))
    return pieces


def plain(value: Any) -> str:
    """Writes a JSON value for people.

    >>> plain(["a", "b"]), plain(None), plain({"a": True, "b": 0.5})
    ('a, b', '—', 'a: yes; b: 0.5')
    """
    if isinstance(value, dict):
        return "; ".join(f"{key}: {plain(each)}" for key, each in value.items()) or "—"
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value)) or "—"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "—" if value is None or value == "" else str(value)


def size(n_bytes: float | None) -> str:
    """Writes an amount of memory."""
    if not n_bytes:
        return "—"
    for unit in ("bytes", "kB", "MB"):
        if n_bytes < 1000:
            return f"{n_bytes:,.0f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:,.2f} GB"


def taken(value: float | bool | None) -> str:
    """Writes what a method takes: a yes or no, or an amount."""
    if value is None or isinstance(value, bool):
        return "—" if value is None else plain(value)
    return number(value, 1 if 0 < value < 10 and value % 1 else 0)


def duration(seconds: float | None) -> str:
    """Writes a time.

    >>> duration(75), duration(4231.5), duration(3.14)
    ('1 min 15 s', '1 h 10 min', '3.1 s')
    """
    if seconds is None:
        return "—"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
