"""``rlprompt words``."""

from pathlib import Path
from typing import Annotated

import typer

from rlprompt.cli import options
from rlprompt.cli.app import app, err, label_words, out, pairs


@app.command()
def words(
    config: Annotated[
        Path | None, typer.Option(help="TOML file with settings as of optimize; flags win.")
    ] = None,
    task: options.Task = None,
    lm: options.Lm = None,
    shots: options.Shots = None,
    split_seed: options.SplitSeed = None,
    vocabulary_size: Annotated[
        int | None, typer.Option(help="How many words; 3,000 if not given.")
    ] = None,
    whole_words: options.WholeWords = None,
    exclude: options.Exclude = None,
    pieces: options.Pieces = None,
    template: options.Template = None,
    words: options.Words = None,
    column: options.Column = None,
    data_root: options.DataRoot = None,
    revision: options.Revision = None,
    device: options.Device = None,
    family: options.Family = None,
    dtype: options.Dtype = None,
    threads: options.Threads = None,
    trust_remote_code: options.TrustRemoteCode = None,
    reward: options.Reward = None,
    top: Annotated[int, typer.Option(help="Words shown, and scored on dev, at each end.")] = 20,
    out_: Annotated[Path | None, typer.Option("--out", help="Folder for table and scores.")] = None,
) -> None:
    """Show what each single word does: score it alone as the prompt, beside the empty one.

    A run that was stopped goes on when the same command is given again.
    """
    from rlprompt.cli.progress import Progress
    from rlprompt.cli.show_words import show_words
    from rlprompt.run.config import RunConfig
    from rlprompt.run.words import word_effects

    values = {"vocabulary_size": 3000} | (RunConfig.read(config) if config else {})
    given = {
        "task": task,
        "lm": lm,
        "shots": shots,
        "split_seed": split_seed,
        "vocabulary_size": vocabulary_size,
        "whole_words": whole_words,
        "exclude": exclude or None,
        "pieces": pieces,
        "template": template,
        "words": label_words(words),
        "data_root": data_root,
        "columns": pairs("--column", column),
        "revision": revision,
        "device": device,
        "family": family,
        "dtype": dtype,
        "threads": threads,
        "trust_remote_code": trust_remote_code,
        "reward": reward,
        "out": out_,
    }
    values |= {k: v for k, v in given.items() if v is not None}
    settled = RunConfig.parse(values, str(config or "the flags"))
    with Progress(err) as progress:
        found = word_effects(settled, top=top, on_event=progress)
    show_words(out, found, top, settled.out)
