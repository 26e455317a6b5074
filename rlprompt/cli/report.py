"""``rlprompt report``."""

from pathlib import Path
from typing import Annotated

import typer

from rlprompt.cli import options
from rlprompt.cli.app import app, out


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished run or comparison.")],
    html: Annotated[Path, typer.Option(help="File to write.")],
    transfer: Annotated[
        Path | None,
        typer.Option(help="Folder of a transfer of the run's prompt; RUN/transfer if not given."),
    ] = None,
    data_root: options.DataRoot = None,
) -> None:
    """Write a run or a comparison as one HTML page that needs nothing else."""
    from rlprompt.html.report import write_report

    size = write_report(folder, html, transfer=transfer, data_root=data_root)
    out.print(f"{html}: {size / 1000:,.0f} kB", markup=False, highlight=False, soft_wrap=True)
