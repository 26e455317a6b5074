"""``rlprompt explain``."""

from pathlib import Path
from typing import Annotated

import typer

from rlprompt.cli import options
from rlprompt.cli.app import app, err, out


@app.command()
def explain(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    budget: Annotated[
        int | None,
        typer.Option(help="LM forwards at most; by default 100 prompts' or the run's own budget."),
    ] = None,
    orders: Annotated[int, typer.Option(help="Other orders of the tokens, at most.")] = 12,
    swaps: Annotated[int, typer.Option(help="Near words tried for each token.")] = 6,
    label_words: Annotated[int, typer.Option(help="Near words tried for each label.")] = 4,
    examples: Annotated[int, typer.Option(help="Test examples shown at each end.")] = 5,
    seed: Annotated[int, typer.Option(help="Of the sample of orders.")] = 0,
    task: Annotated[
        str | None, typer.Option(help="Where the run's data file, folder or .toml file is now.")
    ] = None,
    data_root: options.DataRoot = None,
    device: options.Device = None,
    threads: options.Threads = None,
    json_: Annotated[
        bool, typer.Option("--json", help="Print what explanation.json holds.")
    ] = False,
) -> None:
    """Say why a learned prompt works: its tokens, template, label words, wins and losses.

    What the run has scored is free. An explanation that was stopped goes on when the same command
    is given again.
    """
    import json

    from rlprompt.cli.progress import Progress
    from rlprompt.cli.show_explain import show_explanation
    from rlprompt.explain.explain import explain as ask
    from rlprompt.explain.settings import Settings

    settings = Settings(
        budget=budget,
        seed=seed,
        orders=orders,
        swaps=swaps,
        words=label_words,
        cases=examples,
    )
    with Progress(err) as progress:
        found = ask(
            run,
            settings,
            task=task,
            data_root=data_root,
            device=device,
            threads=threads,
            on_event=progress,
        )
    if json_:
        typer.echo(json.dumps(found.to_json(), indent=2, ensure_ascii=False))
    else:
        show_explanation(out, found, run)
