"""The command ``rlprompt``: its verbs, what it logs, and how an error ends it."""

import logging
import sys
from enum import StrEnum
from typing import Annotated

import typer
from rich.logging import RichHandler

# Each registers its command, in the order of the help page.
from rlprompt.cli import (  # noqa: F401
    compare,
    evaluate,
    explain,
    export,
    optimize,
    report,
    serve,
    transfer,
    watch,
    words,
)
from rlprompt.cli.app import app, err, out
from rlprompt.core.errors import RLPromptError
from rlprompt.core.events import steps
from rlprompt.core.version import __version__

#: Exit code that typer gives to Ctrl-C.
INTERRUPTED = 130


class Kind(StrEnum):
    """What ``rlprompt list`` can list."""

    tasks = "tasks"
    lms = "lms"
    agents = "agents"
    tuners = "tuners"
    rewards = "rewards"
    envs = "envs"
    exports = "exports"


class _Steps(logging.Handler):
    """Shows what is being done, in so many words."""

    def emit(self, record: logging.LogRecord) -> None:
        err.print(record.getMessage(), style="dim", markup=False, highlight=False, soft_wrap=True)


def _version(show: bool) -> None:
    if show:
        out.print(f"rlprompt {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what is done.")] = False,
) -> None:
    """Learn readable text prompts for frozen language models, without gradients."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=err, show_time=False, show_path=False)],
    )
    shown, level = _Steps(), steps.level
    steps.addHandler(shown)
    steps.setLevel(logging.INFO)
    steps.propagate = False

    # Whoever calls the command from Python gets the logger back as it was.
    @context.call_on_close
    def _silence() -> None:
        steps.removeHandler(shown)
        steps.setLevel(level)
        steps.propagate = True


@app.command("list")
def list_(kind: Annotated[Kind, typer.Argument(help="What to list.")]) -> None:
    """List what can be named: tasks, lms, agents, tuners, rewards, envs, exports."""
    from rlprompt.cli.show import show_registry

    show_registry(out, kind.value)


def main() -> None:
    """Runs the command line; an error that the user can mend ends with code 2 and no traceback."""
    # A console script does not see the current folder, where my_module:my_reward most often lies.
    sys.path.append("")
    try:
        app()
    except RLPromptError as error:
        err.print("[bold red]Error:[/] ", end="")
        err.print(str(error), markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            err.print("Interrupted.")
        raise
