"""Errors that are written for the user: what was wrong, where, what to do."""

import difflib
from collections.abc import Iterable


class RLPromptError(Exception):
    """Base of all errors that a user can mend; the command line exits with code 2."""


class ConfigError(RLPromptError):
    """A setting, a name or a combination of settings is refused."""


class DataError(RLPromptError):
    """Data are missing, unreadable or unfit for the task."""


class TemplateError(RLPromptError):
    """A template or a verbalizer is refused."""


class LMError(RLPromptError):
    """The language model cannot be loaded or cannot do what is asked of it."""


class RunError(RLPromptError):
    """A run folder cannot be used: another configuration, in use, no space left."""


class SearchOver(RLPromptError):  # noqa: N818 - no mistake of anybody's
    """The search has to end; raised by the objective and caught by the run.

    An agent may let it propagate: everything scored so far is in the archive.
    """


class BudgetExhausted(SearchOver):
    """The next prompt cannot be paid for."""


class SearchStalled(SearchOver):
    """Nothing new was proposed for so long that going on would never end."""


def suggest(name: str, known: Iterable[str]) -> str:
    """Returns `` Did you mean 'x'?`` for the nearest known name, else an empty string.

    >>> suggest("pppo", ["ppo", "random"])
    " Did you mean 'ppo'?"
    >>> suggest("zzz", ["ppo", "random"])
    ''
    """
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else ""
