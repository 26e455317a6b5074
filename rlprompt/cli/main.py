"""``rlprompt optimize | compare | words | evaluate | list``."""

import logging
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.logging import RichHandler

from rlprompt.core.errors import ConfigError, RLPromptError
from rlprompt.core.version import __version__

app = typer.Typer(
    name="rlprompt",
    help="Learn readable text prompts for frozen language models, without gradients.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
#: Exit code that typer gives to Ctrl-C.
INTERRUPTED = 130
out = Console()
err = Console(stderr=True)


class Kind(StrEnum):
    """What ``rlprompt list`` can list."""

    tasks = "tasks"
    lms = "lms"
    agents = "agents"
    rewards = "rewards"
    envs = "envs"


def _version(show: bool) -> None:
    if show:
        out.print(f"rlprompt {__version__}")
        raise typer.Exit


@app.callback()
def _root(
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


def _pairs(flag: str, values: list[str] | None) -> dict[str, str] | None:
    """Reads ``NAME=VALUE`` options."""
    if not values:
        return None
    found: dict[str, str] = {}
    for value in values:
        name, separator, right = value.partition("=")
        if not separator or not name:
            raise ConfigError(f"{flag} takes NAME=VALUE, not {value!r}.")
        found[name.strip()] = right
    return found


def _setting(text: str) -> Any:
    """Reads a setting's value as TOML would: 3, 0.1, true; anything else is text."""
    import tomllib

    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


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
    label_words: dict[str, str] = _pairs("--words", words) or {}
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
        "exclude": exclude or None,
        "test_limit": test_limit,
        "template": template,
        "words": {k: v.split(",") for k, v in label_words.items()} if label_words else None,
        "data_root": data_root,
        "columns": _pairs("--column", column),
        "manual_prompts": manual_prompt or None,
        "revision": revision,
        "device": device,
        "dtype": dtype,
        "threads": threads,
        "trust_remote_code": trust_remote_code,
        "out": out_,
    }
    values |= {k: v for k, v in given.items() if v is not None}
    settings = {k: _setting(v) for k, v in (_pairs("--set", set_) or {}).items()}
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


def _names(text: str | None) -> list[str] | None:
    """Reads ``a,b,c``."""
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def _numbers(flag: str, text: str | None) -> list[int] | None:
    """Reads ``13,21,42``; an underscore may stand between digits."""
    found = _names(text)
    try:
        return None if found is None else [int(part) for part in found]
    except ValueError as error:
        raise ConfigError(f"{flag} takes whole numbers like 13,21,42, not {text!r}.") from error


@app.command()
def compare(
    config: Annotated[
        Path | None, typer.Option(help="TOML file with any of the settings; flags win.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="Tasks, as of optimize: a,b.")] = None,
    agents: Annotated[
        str | None,
        typer.Option(help="Agents: ppo,genetic,genetic+racing; all registered ones if not given."),
    ] = None,
    fixed: Annotated[
        str | None, typer.Option(help="Prompts nobody learned: empty,manual,in-context.")
    ] = None,
    budgets: Annotated[str | None, typer.Option(help="LM forwards of a run: 5000,20000.")] = None,
    split_seeds: Annotated[
        str | None, typer.Option(help="Seeds of the few-shot draws: 13,21,42,87,100.")
    ] = None,
    seeds: Annotated[str | None, typer.Option(help="Seeds of the agents: 0,1,2.")] = None,
    lm: Annotated[
        str | None, typer.Option(help="Frozen LM: alias, hub id, folder or .gguf file.")
    ] = None,
    shots: Annotated[int | None, typer.Option(help="Train examples a label.")] = None,
    length: Annotated[int | None, typer.Option(help="Tokens of a prompt.")] = None,
    reward: Annotated[str | None, typer.Option(help="Reward, or module:function.")] = None,
    vocabulary_size: Annotated[
        int | None, typer.Option(help="Tokens that a prompt may be made of.")
    ] = None,
    test_limit: Annotated[
        int | None, typer.Option(help="Score only the first so many test examples.")
    ] = None,
    data_root: Annotated[
        Path | None, typer.Option(help="Folder that {data_root} stands for in a task's .toml file.")
    ] = None,
    reach: Annotated[
        float | None, typer.Option(help="Train reward to count forwards to; else random's best.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(help="Processes side by side.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps.")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16 or float16.")] = None,
    out_: Annotated[Path | None, typer.Option("--out", help="Folder of the comparison.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan, and stop.")] = False,
) -> None:
    """Compare methods at an equal budget on the same tasks, splits and selection.

    A comparison that was stopped goes on when the same command is given again; more methods,
    budgets, seeds or tasks can be added to it later. The exit code is 1 if a search failed.
    """
    from rlprompt.cli import compare as shown
    from rlprompt.compare.compare import compare as run
    from rlprompt.compare.config import CompareConfig
    from rlprompt.run.config import RunConfig
    from rlprompt.tasks.optional import need

    values = RunConfig.read(config) if config else {}
    given = {
        "tasks": _names(task),
        "agents": _names(agents),
        "fixed": _names(fixed),
        "budgets": _numbers("--budgets", budgets),
        "split_seeds": _numbers("--split-seeds", split_seeds),
        "seeds": _numbers("--seeds", seeds),
        "lm": lm,
        "shots": shots,
        "length": length,
        "reward": reward,
        "vocabulary_size": vocabulary_size,
        "test_limit": test_limit,
        "data_root": data_root,
        "reach": reach,
        "jobs": jobs,
        "device": device,
        "dtype": dtype,
        "out": out_,
    }
    values |= {k: v for k, v in given.items() if v is not None}
    settled = CompareConfig.parse(values)
    for package in ("matplotlib", "pandas", "scipy"):
        need(package, "rlprompt[compare]", "A comparison")
    shown.show_plan(out, settled)
    if dry_run:
        return
    with shown.CompareProgress(err, settled) as progress:
        result = run(settled, on_news=progress)
    shown.show_comparison(out, result, settled)
    if any(failure["budget"] for failure in result["failures"]):
        raise typer.Exit(1)


@app.command()
def words(
    config: Annotated[
        Path | None, typer.Option(help="TOML file with settings as of optimize; flags win.")
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="Task name, .toml file, folder of splits, or data file.")
    ] = None,
    lm: Annotated[
        str | None, typer.Option(help="Frozen LM: alias, hub id, folder or .gguf file.")
    ] = None,
    shots: Annotated[int | None, typer.Option(help="Train examples a label.")] = None,
    split_seed: Annotated[int | None, typer.Option(help="Seed of the few-shot draw.")] = None,
    vocabulary_size: Annotated[
        int | None, typer.Option(help="How many words; 3,000 if not given.")
    ] = None,
    whole_words: Annotated[
        bool | None, typer.Option(help="Only whole words of the task's language.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="A word to leave out; repeatable.")
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
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps.")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16 or float16.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads.")] = None,
    reward: Annotated[str | None, typer.Option(help="Reward, or module:function.")] = None,
    top: Annotated[int, typer.Option(help="Words shown, and scored on dev, at each end.")] = 20,
    out_: Annotated[Path | None, typer.Option("--out", help="Folder for table and scores.")] = None,
) -> None:
    """Show what each single word does: score it alone as the prompt, beside the empty one.

    A run that was stopped goes on when the same command is given again.
    """
    from rlprompt.cli.progress import Progress
    from rlprompt.cli.words import show_words
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
        "template": template,
        "words": {k: v.split(",") for k, v in (_pairs("--words", words) or {}).items()} or None,
        "data_root": data_root,
        "columns": _pairs("--column", column),
        "device": device,
        "dtype": dtype,
        "threads": threads,
        "reward": reward,
        "out": out_,
    }
    values |= {k: v for k, v in given.items() if v is not None}
    settled = RunConfig.parse(values, str(config or "the flags"))
    with Progress(err) as progress:
        found = word_effects(settled, top=top, on_event=progress)
    show_words(out, found, top, settled.out)


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
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps.")] = None,
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
        show.show_data(out, run, data, _pairs("--column", column), device)
    else:
        show.show_texts(out, run, text or [], device)


@app.command("list")
def list_(kind: Annotated[Kind, typer.Argument(help="What to list.")]) -> None:
    """List what can be named: tasks, lms, agents, rewards, envs."""
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
