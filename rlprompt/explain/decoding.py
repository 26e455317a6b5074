"""JSON values back to the frozen dataclasses that they were written from."""

from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")


def decoded(cls: type[T], value: dict[str, Any]) -> T:
    """Returns the dataclass whose ``asdict`` went through JSON: lists become tuples, and so on.

    Raises:
        KeyError: a field is missing.
        TypeError: a value is of another kind than its field.

    >>> from rlprompt.core.statistics import Estimate
    >>> decoded(Estimate, {"value": 0.1, "low": 0.0, "high": 0.2})
    Estimate(value=0.1, low=0.0, high=0.2)
    """
    hints = get_type_hints(cls)
    assert is_dataclass(cls)
    return cls(**{each.name: _value(hints[each.name], value[each.name]) for each in fields(cls)})


def _value(hint: Any, value: Any) -> Any:
    if isinstance(hint, UnionType):
        if value is None:
            return None
        (hint,) = (each for each in get_args(hint) if each is not NoneType)
    if hint is Any:
        return value
    kind, inner = get_origin(hint), get_args(hint)
    if is_dataclass(hint) and isinstance(hint, type):
        return decoded(hint, value)
    if kind is tuple:
        return tuple(_value(inner[0], each) for each in value)
    if kind is dict:
        return {key: _value(inner[1], each) for key, each in value.items()}
    if kind is list:
        return [_value(inner[0], each) for each in value]
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and not isinstance(value, hint):
        raise TypeError(f"{value!r} is no {hint.__name__}")
    return value
