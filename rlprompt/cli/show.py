"""What the command line prints: plan, result, scores, lists."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from rlprompt.core.errors import ConfigError, suggest
from rlprompt.core.result import Result, Scores, SplitScores
from rlprompt.run import folder

if TYPE_CHECKING:
    from rlprompt.run.config import RunConfig
    from rlprompt.run.parts import Plan
    from rlprompt.tasks.task import Task


def show_plan(console: Console, config: "RunConfig", task: "Task", plan: "Plan") -> None:
    """Prints what a run will do and what it will cost, before it starts."""
    agents = ", ".join([config.agent, *config.controls])
    table = Table(box=None, show_header=False, padding=(0, 1))
    table.add_column(style="bold")
    table.add_column()
    table.add_row(
        "task",
        f"{escape(task.name)}: {plan.n_train} train, {plan.n_dev} dev, "
        f"{plan.n_test} of {len(task.test)} test examples",
    )
    table.add_row("frozen LM", escape(config.lm))
    table.add_row("template", Text(repr(task.template.source)))
    table.add_row(
        "label words",
        Text(
            "; ".join(
                f"{label}: {', '.join(words)}"
                for label, words in zip(task.labels, task.verbalizer.words, strict=True)
            )
        ),
    )
    table.add_row(
        "agents", f"{escape(agents)}, up to {config.length} tokens a prompt, seed {config.seed}"
    )
    table.add_row(
        "manual prompts", Text(", ".join(map(repr, task.manual_prompts)) or "none to compare with")
    )
    table.add_row(
        "budget",
        f"{plan.budget.forwards:,} LM forwards for each agent: up to {plan.prompts:,} prompts in "
        f"the search, {plan.race.cost:,} forwards kept for the selection",
    )
    table.add_row(
        "in all",
        f"at most {plan.total:,} LM forwards, {plan.final:,} of them for baselines and test",
    )
    for report in task.reports:
        table.add_row("note", Text(report))
    console.print(Panel(table, title="plan", title_align="left", border_style="dim"))


def show_result(console: Console, result: Result, out: Path | None) -> None:
    """Prints the learned prompt, its scores beside the others', and where the files are."""
    console.print(
        Panel(
            Text(repr(result.prompt.text), style="bold"),
            title="learned prompt",
            title_align="left",
            subtitle=Text(f"goes into {result.template['source']!r}"),
            subtitle_align="right",
        )
    )
    console.print(comparison(result))
    test = result.splits["test"]
    ledger = result.main.ledger
    console.print(
        f"test: {test['scored']} of {test['size']} examples, opened once. Calibrated, with 95 % "
        "bootstrap intervals; uncalibrated: accuracy and log-likelihood as the LM gives them."
        f"\nspent: {ledger['forwards']:,} of {result.budget['forwards']:,} LM forwards, "
        f"{ledger['tokens']:,} tokens and {ledger.get('saved_tokens', 0):,} saved by shared "
        f"beginnings, {ledger['seconds']:.0f} s in the LM "
        f"({result.process.get('lm_share', 0):.0%} of the last process's wall time).",
        style="dim",
        highlight=False,
        markup=False,
    )
    if out is not None:
        console.print(
            f"files: {out / folder.PROMPT}, {out / folder.RESULT}", markup=False, highlight=False
        )


def comparison(result: Result) -> Table:
    """Returns the table of all prompts that were scored on test."""
    table = Table(title="test scores", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
    table.add_column("prompt", overflow="fold")
    table.add_column("accuracy", justify="right", no_wrap=True)
    table.add_column("log-likelihood", justify="right", no_wrap=True)
    table.add_column("uncalibrated", justify="right", no_wrap=True)
    for n, (name, found) in enumerate(result.tested.items()):
        text = ", ".join(map(repr, found.texts))
        test = found.scores["test"]
        raw = test.uncalibrated
        what = Text.assemble((name, "bold" if n == 0 else ""), "\n", (text, "dim"))
        table.add_row(
            what, _share(test), _nats(test), f"{raw.accuracy:.3f} {raw.log_likelihood:.3f}"
        )
    return table


def _share(scores: Scores | SplitScores) -> str:
    return f"{scores.accuracy:.3f}{_interval(scores.accuracy_interval)}"


def _nats(scores: Scores | SplitScores) -> str:
    return f"{scores.log_likelihood:.3f}{_interval(scores.log_likelihood_interval)}"


def _interval(ends: tuple[float, float] | None) -> str:
    """Writes an interval without its leading zeros: ``[.692 .747]``."""
    if ends is None:
        return ""
    low, high = (f"{end:.3f}".replace("0.", ".", 1) for end in ends)
    return f" [{low} {high}]"


def _scores_table(title: str, scores: SplitScores) -> Table:
    table = Table(title=Text(title), title_justify="left")
    for name in ("", "accuracy", "log-likelihood"):
        table.add_column(name)
    table.add_row("calibrated", _share(scores), _nats(scores))
    table.add_row("uncalibrated", _share(scores.uncalibrated), _nats(scores.uncalibrated))
    return table


def show_split(console: Console, run: Path, split: str) -> None:
    """Prints the scores a run has for one of its splits.

    Raises:
        ConfigError: no such split.
    """
    from rlprompt.run.optimize import run_folder

    result = Result.load(run_folder(run) / folder.RESULT)
    if split not in result.scores:
        raise ConfigError(
            f"Unknown split {split!r}.{suggest(split, result.scores)} "
            f"Known: {', '.join(result.scores)}."
        )
    console.print(_scores_table(f"{split} split: {result.prompt.text!r}", result.scores[split]))
    if split == "test":
        console.print(comparison(result))


def show_data(
    console: Console,
    run: Path,
    data: Path,
    columns: Mapping[str, str] | None,
    device: str | None,
) -> None:
    """Scores a run's prompt on labelled data and prints the scores."""
    from rlprompt.run.optimize import run_folder
    from rlprompt.run.predictor import load
    from rlprompt.tasks.loaders import load_table
    from rlprompt.tasks.template import Template

    result = Result.load(run_folder(run) / folder.RESULT)
    fields = Template(**result.template).fields
    chosen = dict(columns or {})
    label = chosen.pop("label", "label")
    table = load_table(data, fields, columns=chosen, label=label)
    examples = table.examples(result.task["labels"])
    scores = load(run, device=device).evaluate(examples)
    for report in table.reports:
        console.print(report, style="dim", markup=False)
    console.print(_scores_table(f"{data}, {len(examples)} examples", scores))


def show_texts(console: Console, run: Path, texts: list[str], device: str | None) -> None:
    """Labels texts and prints labels and probabilities."""
    from rlprompt.run.predictor import load

    predictor = load(run, device=device)
    table = Table()
    table.add_column("text", overflow="fold")
    table.add_column("label", style="bold")
    for label in predictor.labels:
        table.add_column(f"P({label})", justify="right")
    for text, prediction in zip(texts, predictor.predict(texts), strict=True):
        probabilities = [f"{p:.3f}" for p in prediction.probabilities.values()]
        table.add_row(Text(text), prediction.label, *probabilities)
    console.print(table)


def show_registry(console: Console, kind: str) -> None:
    """Prints the names of one kind, each with its summary."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, summary in _names(kind):
        table.add_row(name, Text(summary))
    console.print(table)


def _names(kind: str) -> list[tuple[str, str]]:
    if kind == "envs":
        import gymnasium

        import rlprompt.envs  # noqa: F401 - registers the environments

        return [
            (name, str(spec.entry_point))
            for name, spec in sorted(gymnasium.registry.items())
            if name.startswith("rlprompt/")
        ]
    from rlprompt.agents.protocol import AGENTS
    from rlprompt.export.protocol import EXPORTS
    from rlprompt.lm.loading import LMS
    from rlprompt.rewards import REWARDS
    from rlprompt.tasks.registry import TASKS
    from rlprompt.tuning.protocol import TUNERS

    registries = {
        "tasks": TASKS,
        "lms": LMS,
        "agents": AGENTS,
        "tuners": TUNERS,
        "rewards": REWARDS,
        "exports": EXPORTS,
    }
    registry = registries[kind]
    return [(name, registry.summary(name)) for name in registry]
