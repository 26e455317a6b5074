"""``rlprompt transfer``."""

from pathlib import Path
from typing import Annotated

import typer

from rlprompt.cli import options
from rlprompt.cli.app import app, err, names, out


@app.command()
def transfer(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs.")],
    lms: Annotated[
        str | None,
        typer.Option(help="Other LMs: aliases, hub ids, folders or .gguf files: a,b,c."),
    ] = None,
    test_limit: options.TestLimit = None,
    data_root: options.DataRoot = None,
    device: options.Device = None,
    dtype: Annotated[
        str | None, typer.Option(help="Of the other LMs: float32, bfloat16 or float16.")
    ] = None,
    threads: options.Threads = None,
    trust_remote_code: Annotated[
        bool, typer.Option(help="Let code from the other LMs' repositories run here.")
    ] = False,
    out_: Annotated[
        Path | None, typer.Option("--out", help="Folder for tables and scores.")
    ] = None,
) -> None:
    """Score learned prompts, as text, on other LMs of any family.

    A job that was stopped goes on when the same command is given again; more LMs can be added to it
    later. The exit code is 1 if an LM could not be asked.
    """
    from rlprompt.cli.progress import Progress
    from rlprompt.cli.show_transfer import show_transfer
    from rlprompt.lm.loading import LMConfig
    from rlprompt.run.transfer import transfer as run

    others = [
        LMConfig(
            name,
            device=device,
            dtype=dtype,
            threads=threads,
            trust_remote_code=trust_remote_code,
        )
        for name in names(lms) or []
    ]
    with Progress(err) as progress:
        found = run(
            runs,
            others,
            out=out_,
            test_limit=test_limit,
            data_root=data_root,
            device=device,
            threads=threads,
            on_event=progress,
        )
    show_transfer(out, found, out_)
    if found.failures:
        raise typer.Exit(1)
