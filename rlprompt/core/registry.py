"""Names for things a user can choose: tasks, LMs, agents, rewards."""

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
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


def make_configured(
    registry: Registry[Any],
    name: str,
    settings: Mapping[str, Any],
    *,
    method: str,
    same_kind: Callable[[object, object], bool] = lambda value, default: True,
) -> Any:
    """Makes a registered dataclass of settings.

    Args:
        registry: where the name is looked up.
        name: registered name or import path.
        settings: in place of the defaults.
        method: what the class must be able to do.
        same_kind: whether a value is of the kind of a setting's default.

    Raises:
        ConfigError: the name or a setting is unknown, with the nearest one, or a value is refused.
    """
    what, kind = registry.kind, registry.get(name)
    if not (isinstance(kind, type) and is_dataclass(kind) and hasattr(kind, method)):
        raise ConfigError(
            f"{name!r} is no {what}: it must be a dataclass of settings with a method {method!r}."
        )
    known = {each.name: each.default for each in fields(kind)}
    for key, value in settings.items():
        if key not in known:
            raise ConfigError(
                f"The {what} {name!r} has no setting {key!r}.{suggest(key, known)} "
                f"It has: {', '.join(known)}."
            )
        if not same_kind(value, known[key]):
            raise ConfigError(
                f"{key} of the {what} {name!r} must be of type {type(known[key]).__name__}, "
                f"not {value!r}."
            )
    try:
        return kind(**settings)
    except TypeError as error:
        raise ConfigError(f"Settings of the {what} {name!r}: {error}.") from error
