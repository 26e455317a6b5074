"""Names for things a user can choose: tasks, LMs, agents, rewards."""

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from rlprompt.core.errors import ConfigError, suggest

T = TypeVar("T")


@dataclass(frozen=True)
class Registration:
    """One registered thing.

    Attributes:
        target: import path ``package.module:attribute``; imported on first use, so that
            listing names stays cheap.
        summary: one line for ``rlprompt list``.
    """

    target: str
    summary: str


def import_path(path: str) -> object:
    """Imports ``package.module:attribute``.

    Raises:
        ConfigError: the module or the attribute does not exist.
    """
    module_name, _, attribute = path.partition(":")
    if not attribute or not all(part.isidentifier() for part in module_name.split(".")):
        raise ConfigError(f"{path!r} is no import path: write 'package.module:name'.")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(f"Cannot import {module_name!r} (of {path!r}): {error}.") from error
    if not hasattr(module, attribute):
        raise ConfigError(
            f"Module {module_name!r} has no {attribute!r}.{suggest(attribute, dir(module))}"
        )
    return cast(object, getattr(module, attribute))


class Registry(Generic[T]):
    """Maps names to import paths and suggests the nearest name for a misspelt one."""

    def __init__(self, kind: str) -> None:
        """Makes an empty registry; ``kind`` is the word that errors use ('agent')."""
        self.kind = kind
        self._entries: dict[str, Registration] = {}

    def register(self, name: str, target: str, summary: str) -> None:
        """Adds a name.

        Raises:
            ConfigError: the name is taken by another target.
        """
        taken = self._entries.get(name)
        if taken is not None and taken.target != target:
            raise ConfigError(f"The {self.kind} {name!r} is registered already ({taken.target}).")
        self._entries[name] = Registration(target, summary)

    def __iter__(self) -> Iterator[str]:
        """Iterates over the names, sorted."""
        return iter(sorted(self._entries))

    def __contains__(self, name: str) -> bool:
        """Whether the name is registered."""
        return name in self._entries

    def summary(self, name: str) -> str:
        """Returns the one-line summary of a registered name."""
        return self._entries[name].summary

    def name_of(self, kind: type) -> str:
        """Returns the name under which a class is registered, else its import path."""
        path = f"{kind.__module__}:{kind.__qualname__}"
        return next((name for name in self if self._entries[name].target == path), path)

    def get(self, name: str) -> T:
        """Returns what is registered under ``name``, or the import path ``module:attribute``.

        Raises:
            ConfigError: the name is unknown; the message holds the nearest one.
        """
        if name in self._entries:
            return cast(T, import_path(self._entries[name].target))
        if ":" in name:
            return cast(T, import_path(name))
        raise ConfigError(
            f"Unknown {self.kind} {name!r}.{suggest(name, self)} Known: {', '.join(self)}."
        )

    def get_any(self, name: str) -> Any:
        """Like :meth:`get`, for callers that check the type themselves."""
        return self.get(name)
