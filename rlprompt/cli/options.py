"""Options that several commands have: one meaning, one help text."""

from pathlib import Path
from typing import Annotated

import typer

Task = Annotated[
    str | None, typer.Option(help="Task name, .toml file, folder of splits, or data file.")
]
Lm = Annotated[str | None, typer.Option(help="Frozen LM: alias, hub id, folder or .gguf file.")]
Shots = Annotated[int | None, typer.Option(help="Train examples a label.")]
SplitSeed = Annotated[int | None, typer.Option(help="Seed of the few-shot draw.")]
Length = Annotated[int | None, typer.Option(help="Tokens of a prompt.")]
Reward = Annotated[str | None, typer.Option(help="Reward, or module:function.")]
Fluency = Annotated[
    float | None,
    typer.Option(help="Cost of a nat a token that a prompt is less fluent than it has to be."),
]
Perplexity = Annotated[
    float | None, typer.Option(help="Perplexity a token at which a prompt is fluent enough.")
]
VocabularySize = Annotated[int | None, typer.Option(help="Tokens that a prompt may be made of.")]
WholeWords = Annotated[bool | None, typer.Option(help="Only whole words of the task's language.")]
TestLimit = Annotated[int | None, typer.Option(help="Score only the first so many test examples.")]
Template = Annotated[
    str | None,
    typer.Option(help="E.g. '{text}{prompt}', or '{prompt:2} {text} {prompt:3} {mask}'."),
]
Words = Annotated[list[str] | None, typer.Option(help="Label word LABEL=WORD; repeatable.")]
Column = Annotated[
    list[str] | None, typer.Option(help="Column of a field, text=NAME or label=NAME; repeatable.")
]
DataRoot = Annotated[
    Path | None, typer.Option(help="Folder that {data_root} stands for in a task's .toml file.")
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps.")]
Dtype = Annotated[str | None, typer.Option(help="float32, bfloat16 or float16.")]
Threads = Annotated[int | None, typer.Option(help="CPU threads.")]
Pieces = Annotated[bool | None, typer.Option(help="Pieces from inside words as well, as '##ing'.")]
Exclude = Annotated[
    list[str] | None, typer.Option(help="A word that must not be in a prompt; repeatable.")
]
ManualPrompt = Annotated[
    list[str] | None, typer.Option(help="Hand-written prompt to compare with; repeatable.")
]
Revision = Annotated[str | None, typer.Option(help="Of the LM on the hub.")]
Family = Annotated[
    str | None, typer.Option(help="Of the LM, where its files do not say: masked, ...")
]
TrustRemoteCode = Annotated[
    bool | None, typer.Option(help="Let code from the LM's repository run here.")
]
