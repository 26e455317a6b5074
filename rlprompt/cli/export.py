"""``rlprompt export``."""

from pathlib import Path
from typing import Annotated

import typer

from rlprompt.cli import options
from rlprompt.cli.app import app, out


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    to: Annotated[str, typer.Option(help="Format: see rlprompt list exports.")],
    out_: Annotated[Path, typer.Option("--out", help="File or folder to write.")],
    ensemble: Annotated[
        bool, typer.Option("--ensemble", help="All prompts of a run with --ensemble, averaged.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a file that no export wrote.")
    ] = False,
    check: Annotated[
        bool, typer.Option(help="Read it back through the target library, in its own process.")
    ] = True,
    python: Annotated[
        str | None, typer.Option(help="Python that has the target library, if not this one.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="Time limit of reading it back.")] = 300.0,
    data_root: options.DataRoot = None,
    threads: options.Threads = None,
) -> None:
    """Write a learned prompt in the format of another tool, and have that tool read it back.

    The check compares rendered inputs, token ids and calibrated label log-probabilities of a few
    dev examples. The exit code is 1 if the other tool gets something else.
    """
    from rlprompt.cli.show_export import show_export
    from rlprompt.export.export import export as run_export

    found = run_export(
        run,
        to,
        out_,
        ensemble=ensemble,
        force=force,
        check=check,
        data_root=data_root,
        python=python,
        seconds=seconds,
        threads=threads,
    )
    show_export(out, to, found)
    if found.check.outcome == "failed":
        raise typer.Exit(1)
