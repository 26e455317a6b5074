"""``rlprompt evaluate``."""

from pathlib import Path
from typing import Annotated

import typer

from rlprompt.cli import options
from rlprompt.cli.app import app, out, pairs
from rlprompt.core.errors import ConfigError


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    split: Annotated[
        str | None, typer.Option(help="train, dev or test: the scores of the run.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Labelled data file to score.")] = None,
    text: Annotated[list[str] | None, typer.Option(help="A text to label; repeatable.")] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="Column of a field, text=NAME or label=NAME.")
    ] = None,
    device: options.Device = None,
) -> None:
    """Show a run's scores, score the learned prompt on other data, or label texts."""
    from rlprompt.cli import show

    chosen = [
        name for name, value in (("--split", split), ("--data", data), ("--text", text)) if value
    ]
    if len(chosen) != 1:
        raise ConfigError("Give exactly one of --split, --data and --text.")
    if split:
        show.show_split(out, run, split)
    elif data:
        show.show_data(out, run, data, pairs("--column", column), device)
    else:
        show.show_texts(out, run, text or [], device)
