"""Packages that only some users need, imported when they do."""

import importlib
from types import ModuleType

from rlprompt.core.errors import ConfigError


def need(module: str, install: str, purpose: str) -> ModuleType:
    """Imports a module that is no requirement of this library.

    Args:
        module: dotted name, e.g. 'pyarrow.parquet'.
        install: what to hand to ``pip install``.
        purpose: what it is needed for, as it stands in the error ('reading Parquet files').

    Raises:
        ConfigError: the module cannot be imported; says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"{purpose} needs the package {install!r}: pip install {install} ({error})."
        ) from error
