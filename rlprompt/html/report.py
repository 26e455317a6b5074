"""The report of a folder, whatever it holds."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from rlprompt.compare import folder as comparison
from rlprompt.core.errors import ConfigError, RunError
from rlprompt.html.comparison_page import comparison_page
from rlprompt.html.page import render, write_page
from rlprompt.html.run_page import run_page
from rlprompt.run import folder as run

RUN_TEMPLATE, COMPARISON_TEMPLATE = "run.html.j2", "comparison.html.j2"


def write_report(
    folder: Path, html: Path, *, transfer: Path | None = None, data_root: Path | None = None
) -> int:
    """Writes the report of a run or a comparison; its folder is only read.

    Args:
        folder: of a finished run or comparison, or its ``result.json`` or ``comparison.json``.
        html: the file to write; its folder must be there.
        transfer: folder of a transfer of the run's prompt.
        data_root: folder that ``{data_root}`` stands for in the task's ``.toml`` file.

    Returns:
        Size of the file in bytes.

    Raises:
        RLPromptError: there is no finished run or comparison, a file is damaged, or the page cannot
            be written.
    """
    if folder.name in (run.RESULT, comparison.RESULT):
        folder = folder.parent
    if not folder.is_dir():
        raise RunError(f"No run at {folder}: there is no such folder.")
    if (folder / comparison.RESULT).exists():
        if transfer is not None:
            raise ConfigError("--transfer is for the report of a run, and this is a comparison.")
        text = _filled(COMPARISON_TEMPLATE, folder / comparison.RESULT, comparison_page)
    elif (folder / run.RESULT).exists():
        page = partial(run_page, transfer=transfer, data_root=data_root)
        text = _filled(RUN_TEMPLATE, folder / run.RESULT, page)
    else:
        begun = (folder / run.CONFIG).exists()
        raise RunError(
            f"{folder} holds neither {run.RESULT} of a run nor {comparison.RESULT} of a "
            "comparison: "
            + (
                "it is not finished; give its command again to go on."
                if begun
                else "name the folder that --out of rlprompt optimize or compare made."
            )
        )
    write_page(html, text)
    return len(text.encode())


def _filled(template: str, result: Path, page_of: Callable[[Path], object]) -> str:
    """Returns the page of the folder that a result is in.

    Raises:
        RunError: a file of the folder lacks a value, or has one that is none of its kind.
    """
    try:
        return render(template, page_of(result.parent))
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise RunError(
            f"{result} cannot be shown ({error!r}): it, or a file beside it, is damaged or of "
            "another version of rlprompt."
        ) from error
