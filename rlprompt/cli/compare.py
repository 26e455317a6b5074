"""``rlprompt compare``."""

from pathlib import Path
from typing import Annotated

import typer

from rlprompt.cli import options
from rlprompt.cli.app import app, err, label_words, names, numbers, out, pairs
from rlprompt.core.errors import RLPromptError


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
    tuners: Annotated[
        str | None, typer.Option(help="Tuners, which learn numbers in place of words: soft-prompt.")
    ] = None,
    fixed: Annotated[
        str | None, typer.Option(help="Prompts nobody learned: empty,manual,in-context.")
    ] = None,
    budgets: Annotated[str | None, typer.Option(help="LM forwards of a run: 5000,20000.")] = None,
    split_seeds: Annotated[
        str | None, typer.Option(help="Seeds of the few-shot draws: 13,21,42,87,100.")
    ] = None,
    seeds: Annotated[str | None, typer.Option(help="Seeds of agents and tuners: 0,1,2.")] = None,
    lm: options.Lm = None,
    shots: options.Shots = None,
    length: options.Length = None,
    reward: options.Reward = None,
    fluency: options.Fluency = None,
    perplexity: options.Perplexity = None,
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
    reach: Annotated[
        float | None, typer.Option(help="Train reward to count forwards to; else random's best.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(help="Processes side by side.")] = None,
    revision: options.Revision = None,
    device: options.Device = None,
    family: options.Family = None,
    dtype: options.Dtype = None,
    trust_remote_code: options.TrustRemoteCode = None,
    out_: Annotated[Path | None, typer.Option("--out", help="Folder of the comparison.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan, and stop.")] = False,
) -> None:
    """Compare methods at an equal budget on the same tasks, splits and selection.

    A comparison that was stopped goes on when the same command is given again; more methods,
    budgets, seeds or tasks can be added to it later. The exit code is 1 if a search failed.
    """
    from rlprompt.cli import show_compare as shown
    from rlprompt.compare.compare import compare as run
    from rlprompt.compare.config import CompareConfig
    from rlprompt.compare.estimate import estimate
    from rlprompt.run.config import RunConfig
    from rlprompt.tasks.optional import need

    values = RunConfig.read(config) if config else {}
    given = {
        "tasks": names(task),
        "agents": names(agents),
        "tuners": names(tuners),
        "fixed": names(fixed),
        "budgets": numbers("--budgets", budgets),
        "split_seeds": numbers("--split-seeds", split_seeds),
        "seeds": numbers("--seeds", seeds),
        "lm": lm,
        "shots": shots,
        "length": length,
        "reward": reward,
        "fluency": fluency,
        "perplexity": perplexity,
        "vocabulary_size": vocabulary_size,
        "whole_words": whole_words,
        "pieces": pieces,
        "exclude": exclude or None,
        "test_limit": test_limit,
        "template": template,
        "words": label_words(words),
        "columns": pairs("--column", column),
        "data_root": data_root,
        "manual_prompts": manual_prompt or None,
        "reach": reach,
        "jobs": jobs,
        "revision": revision,
        "device": device,
        "family": family,
        "dtype": dtype,
        "trust_remote_code": trust_remote_code,
        "out": out_,
    }
    values |= {k: v for k, v in given.items() if v is not None}
    settled = CompareConfig.parse(values)
    for package in ("matplotlib", "pandas", "scipy"):
        need(package, "rlprompt[compare]", "A comparison")
    shown.show_plan(out, settled)
    with err.status("measuring a few LM forwards"):
        try:
            shown.show_estimate(err, estimate(settled))
        except RLPromptError as error:  # other tasks may be sound, and the run says what is not
            err.print(f"How long it takes cannot be told: {error}", markup=False)
    if dry_run:
        return
    with shown.CompareProgress(err, settled) as progress:
        result = run(settled, on_news=progress)
    shown.show_comparison(out, result, settled)
    if any(failure["budget"] for failure in result["failures"]):
        raise typer.Exit(1)
