"""``rlprompt optimize``."""

from pathlib import Path
from typing import Annotated

import typer

from rlprompt.cli import options
from rlprompt.cli.app import app, err, label_words, out, pairs, setting


@app.command()
def optimize(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option(help="TOML file with any of the settings below; flags win.")
    ] = None,
    task: options.Task = None,
    lm: options.Lm = None,
    agent: Annotated[str | None, typer.Option(help="Agent, or import path module:Class.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Agent setting NAME=VALUE; repeatable.")
    ] = None,
    controls: Annotated[
        str | None, typer.Option(help="Agents at the same budget to compare with: random,...")
    ] = None,
    budget: Annotated[
        int | None, typer.Option(help="LM forwards: one is one example with one prompt.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the agents.")] = None,
    shots: options.Shots = None,
    split_seed: options.SplitSeed = None,
    length: options.Length = None,
    reward: options.Reward = None,
    racing: Annotated[
        bool | None,
        typer.Option(help="Score on part of train first, on the rest only what may be good."),
    ] = None,
    fluency: options.Fluency = None,
    perplexity: options.Perplexity = None,
    ensemble: Annotated[
        int | None,
        typer.Option(help="Average so many of the best prompts, beside the best one alone."),
    ] = None,
    vocabulary_size: options.VocabularySize = None,
    whole_words: options.WholeWords = None,
    pieces: options.Pieces = None,
    exclude: options.Exclude = None,
    test_limit: options.TestLimit = None,
    template: options.Template = None,
    words: options.Words = None,
    column: options.Column = None,
    data_root: options.DataRoot = None,
    manual_prompt: options.ManualPrompt = None,
    revision: options.Revision = None,
    device: options.Device = None,
    family: options.Family = None,
    dtype: options.Dtype = None,
    threads: options.Threads = None,
    trust_remote_code: options.TrustRemoteCode = None,
    out_: Annotated[Path | None, typer.Option("--out", help="Folder of the run.")] = None,
    watch: Annotated[
        list[str] | None,
        typer.Option(help="wandb, mlflow or module:Class, beside TensorBoard; none; repeatable."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print plan and cost, and stop.")
    ] = False,
) -> None:
    """Learn a prompt, select it, and score it beside its baselines.

    A run that was stopped goes on when the same command is given again.
    """
    from rlprompt.cli.progress import Progress
    from rlprompt.cli.show import show_plan, show_result
    from rlprompt.run.config import RunConfig
    from rlprompt.run.optimize import optimize as run
    from rlprompt.run.parts import plan_of, task_of
    from rlprompt.watch.watching import watchers_of

    values = RunConfig.read(config) if config else {}
    given = {
        "task": task,
        "lm": lm,
        "agent": agent,
        "controls": None
        if controls is None
        else [c.strip() for c in controls.split(",") if c.strip()],
        "budget": budget,
        "seed": seed,
        "shots": shots,
        "split_seed": split_seed,
        "length": length,
        "reward": reward,
        "racing": racing,
        "fluency": fluency,
        "perplexity": perplexity,
        "ensemble": ensemble,
        "vocabulary_size": vocabulary_size,
        "whole_words": whole_words,
        "pieces": pieces,
        "exclude": exclude or None,
        "test_limit": test_limit,
        "template": template,
        "words": label_words(words),
        "data_root": data_root,
        "columns": pairs("--column", column),
        "manual_prompts": manual_prompt or None,
        "revision": revision,
        "device": device,
        "family": family,
        "dtype": dtype,
        "threads": threads,
        "trust_remote_code": trust_remote_code,
        "out": out_,
    }
    values |= {k: v for k, v in given.items() if v is not None}
    settings = {k: setting(v) for k, v in (pairs("--set", set_) or {}).items()}
    if settings:
        values["agent_settings"] = {**values.get("agent_settings", {}), **settings}
    settled = RunConfig.parse(values, str(config or "the flags"))
    watchers_of(watch or ())  # what is misspelt or missing is told before anything is loaded
    loaded = task_of(settled)
    plan = plan_of(settled, loaded)
    show_plan(out, settled, loaded, plan)
    if dry_run:
        return
    with Progress(err) as progress:
        result = run(settled, task=loaded, on_event=progress, watch=watch or ())
    show_result(out, result, settled.out)
