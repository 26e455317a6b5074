"""The application that commands register with, its two consoles, and how options are read."""

from typing import Any

import typer
from rich.console import Console

from rlprompt.core.errors import ConfigError

app = typer.Typer(
    name="rlprompt",
    help="Learn readable text prompts for frozen language models, without gradients.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
out = Console()
err = Console(stderr=True)


def pairs(flag: str, values: list[str] | None) -> dict[str, str] | None:
    """Reads ``NAME=VALUE`` options."""
    if not values:
        return None
    found: dict[str, str] = {}
    for value in values:
        name, separator, right = value.partition("=")
        if not separator or not name:
            raise ConfigError(f"{flag} takes NAME=VALUE, not {value!r}.")
        found[name.strip()] = right
    return found


def label_words(values: list[str] | None) -> dict[str, list[str]] | None:
    """Reads ``LABEL=WORD`` and ``LABEL=WORD,WORD`` options."""
    given = pairs("--words", values)
    return {label: words.split(",") for label, words in given.items()} if given else None


def setting(text: str) -> Any:
    """Reads a setting's value as TOML would: 3, 0.1, true; anything else is text."""
    import tomllib

    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def names(text: str | None) -> list[str] | None:
    """Reads ``a,b,c``."""
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def numbers(flag: str, text: str | None) -> list[int] | None:
    """Reads ``13,21,42``; an underscore may stand between digits."""
    found = names(text)
    try:
        return None if found is None else [int(part) for part in found]
    except ValueError as error:
        raise ConfigError(f"{flag} takes whole numbers like 13,21,42, not {text!r}.") from error
