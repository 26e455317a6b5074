"""``rlprompt optimize``."""

from pathlib import Path
from typing import Annotated

import typer

from rlprompt.cli.app import app, err, out, pairs, setting


@app.command()
def optimize(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option(help="TOML file with any of the settings below; flags win.")
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="Task name, .toml file, folder of splits, or data file.")
    ] = None,
    lm: Annotated[
        str | None, typer.Option(help="Frozen LM: alias, hub id, folder or .gguf file.")
    ] = None,
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
    shots: Annotated[int | None, typer.Option(help="Train examples a label.")] = None,
    split_seed: Annotated[int | None, typer.Option(help="Seed of the few-shot draw.")] = None,
    length: Annotated[int | None, typer.Option(help="Tokens of a prompt.")] = None,
    reward: Annotated[str | None, typer.Option(help="Reward, or module:function.")] = None,
    racing: Annotated[
        bool | None,
        typer.Option(help="Score on part of train first, on the rest only what may be good."),
    ] = None,
    vocabulary_size: Annotated[
        int | None, typer.Option(help="Tokens that a prompt may be made of.")
    ] = None,
    whole_words: Annotated[
        bool | None, typer.Option(help="Only whole words of the task's language.")
    ] = None,
    pieces: Annotated[
        bool | None, typer.Option(help="Pieces from inside words as well, as '##ing'.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="A word that must not be in a prompt; repeatable.")
    ] = None,
    test_limit: Annotated[
        int | None, typer.Option(help="Score only the first so many test examples.")
    ] = None,
    template: Annotated[str | None, typer.Option(help="E.g. '{text}{prompt}'.")] = None,
    words: Annotated[
        list[str] | None, typer.Option(help="Label word LABEL=WORD; repeatable.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="Column of a field, text=NAME or label=NAME; repeatable."),
    ] = None,
    data_root: Annotated[
        Path | None, typer.Option(help="Folder that {data_root} stands for in a task's .toml file.")
    ] = None,
    manual_prompt: Annotated[
        list[str] | None, typer.Option(help="Hand-written prompt to compare with; repeatable.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Of the LM on the hub.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps.")] = None,
    family: Annotated[
        str | None, typer.Option(help="Of the LM, where its files do not say: masked, ...")
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16 or float16.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads.")] = None,
    trust_remote_code: Annotated[
        bool | None, typer.Option(help="Let code from the LM's repository run here.")
    ] = None,
    out_: Annotated[Path | None, typer.Option("--out", help="Folder of the run.")] = None,
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

    values = RunConfig.read(config) if config else {}
    label_words: dict[str, str] = pairs("--words", words) or {}
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
        "vocabulary_size": vocabulary_size,
        "whole_words": whole_words,
        "pieces": pieces,
        "exclude": exclude or None,
        "test_limit": test_limit,
        "template": template,
        "words": {k: v.split(",") for k, v in label_words.items()} if label_words else None,
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
    loaded = task_of(settled)
    plan = plan_of(settled, loaded)
    show_plan(out, settled, loaded, plan)
    if dry_run:
        return
    with Progress(err) as progress:
        result = run(settled, task=loaded, on_event=progress)
    show_result(out, result, settled.out)
