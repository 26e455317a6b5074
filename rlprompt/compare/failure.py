"""An error in one line, and the traceback of one that nobody foresaw in a file."""

import traceback
from pathlib import Path

from rlprompt.core.errors import RLPromptError
from rlprompt.core.files import write_text

#: End of the name of a file with a traceback.
_TRACEBACK = ".traceback.txt"


def note(path: Path, error: Exception) -> str:
    """Returns an error in one line; of one that nobody foresaw, leaves the traceback at a path."""
    if isinstance(error, RLPromptError):
        return " ".join(str(error).split())
    write_text(path.with_suffix(_TRACEBACK), "".join(traceback.format_exception(error)))
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{where}"


def clear(path: Path) -> None:
    """Takes away the traceback of an earlier start."""
    path.with_suffix(_TRACEBACK).unlink(missing_ok=True)
