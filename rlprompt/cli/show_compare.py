"""``rlprompt compare``: what it prints before, while and after it runs."""

from collections import Counter
from types import TracebackType
from typing import Any, Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.table import Table

from rlprompt.compare import folder
from rlprompt.compare.config import CompareConfig
from rlprompt.compare.estimate import Estimate
from rlprompt.compare.group import News
from rlprompt.core.trials import Setting


def show_plan(console: Console, config: CompareConfig) -> None:
    """Prints what will be run."""
    searches = len(config.groups) * len(config.settings(*config.groups[0]))
    table = Table(box=None, show_header=False, padding=(0, 1))
    table.add_column(style="bold")
    table.add_column()
    table.add_row("tasks", ", ".join(config.tasks))
    table.add_row("methods", ", ".join(config.agents) or "none")
    if config.tuners:
        told = ", ".join(config.tuners)
        table.add_row("tuners", f"{told}; a backward counts as 2 LM forwards")
    table.add_row("fixed prompts", ", ".join(config.fixed) or "none")
    table.add_row("budgets", ", ".join(f"{b:,}" for b in config.budgets) + " LM forwards each")
    table.add_row("split seeds", ", ".join(map(str, config.split_seeds)))
    table.add_row("agent seeds", ", ".join(map(str, config.seeds)))
    table.add_row(
        "in all",
        f"{searches} {_runs(config, searches)} on {len(config.groups)} "
        f"split{'s' * (len(config.groups) > 1)}, {total_forwards(config):,} LM forwards at most, "
        f"in {config.jobs} process{'es' * (config.jobs > 1)}",
    )
    for note in config.notes:
        table.add_row("note", note)
    console.print(table)


def show_estimate(console: Console, found: Estimate | None) -> None:
    """Prints how long what is left will take."""
    if found is None:
        console.print(" [bold]time[/]            nothing is left to run")
        return
    rates = {
        "in searches": found.speed.search,
        "with a soft prompt": found.speed.soft,
        "with whole inputs": found.speed.whole,
    }
    told = ", ".join(f"{rate:,.0f} {name}" for name, rate in rates.items() if rate)
    console.print(
        f" [bold]time[/]            {duration(found.seconds)} at most for {found.runs} runs, from "
        f"LM forwards a second as measured just now: {told}",
    )


def duration(seconds: float) -> str:
    """Writes a time as a person would: 40 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _runs(config: CompareConfig, number: int) -> str:
    if config.tuners:
        return "runs" if number > 1 else "run"
    return "searches" if number > 1 else "search"


def total_forwards(config: CompareConfig) -> int:
    """Returns what all searches together may be charged."""
    return sum(s.budget for group in config.groups for s in config.settings(*group))


class CompareProgress:
    """Shows the whole comparison: forwards charged, runs done and failed, a line for each run."""

    def __init__(self, console: Console, config: CompareConfig) -> None:
        """Makes a display; without a terminal it prints a line a run."""
        self._console = console
        self._config = config
        self._total = total_forwards(config)
        self._runs = len(config.groups) * len(config.settings(*config.groups[0]))
        self._forwards: dict[Setting, int] = {}
        self._states: Counter[str] = Counter()
        self._bars = RichProgress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[runs]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: TaskID = self._bars.add_task("forwards", total=self._total, runs="")

    def __enter__(self) -> "CompareProgress":
        """Starts the display."""
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stops the display."""
        self._bars.stop()

    def __call__(self, news: News) -> None:
        """Shows one piece of news."""
        if news.setting is not None:
            self._forwards[news.setting] = news.forwards
            if news.state != "running":
                self._states[news.state] += 1
        runs = f"{self._states['done']} of {self._runs} runs"
        if self._states["failed"]:
            runs += f", {self._states['failed']} failed"
        self._bars.update(self._task, completed=sum(self._forwards.values()), runs=runs)
        if news.line:
            done = sum(self._states.values())
            mark = "FAILED: " if news.state == "failed" else ""
            self._console.print(
                f"[{done}/{self._runs}] {self._name(news)}{mark}{news.line}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )

    def _name(self, news: News) -> str:
        task, split_seed = self._config.groups[news.group]
        s = news.setting
        run = "" if s is None else f", {s.method} seed {s.seed}, {s.budget:,} forwards"
        return f"{task} split {split_seed}{run}: "


def show_comparison(console: Console, result: dict[str, object], config: CompareConfig) -> None:
    """Prints table and verdict, and where the files are."""
    rows = result["summary"]
    assert isinstance(rows, list)
    table = Table(title="test scores with 95 % intervals", title_justify="left")
    for title in ("task", "forwards", "method", "accuracy", "log-likelihood", "rank"):
        named = title in ("task", "method")  # a name that is cut short names nothing
        justify: Literal["left", "right"] = "left" if named else "right"
        table.add_column(title, justify=justify, overflow="fold", no_wrap=title == "method")
    goal = "random's best" if config.reach is None else f"reward {config.reach:g}"
    table.add_column(f"to reach {goal}", justify="right")
    before = None
    for row in rows:
        here = (row["task"], row["budget"])
        if before not in (None, here):
            table.add_section()
        before = here
        table.add_row(
            row["task"],
            f"{row['budget']:,}",
            row["method"],
            _interval(row, "accuracy"),
            _interval(row, "log_likelihood"),
            "" if row["rank"] is None else f"{row['rank']:.1f}",
            "" if row["forwards_to_reach"] is None else f"{row['forwards_to_reach']:,.0f}",
        )
    console.print(table)
    if rows and "bytes" in rows[0]:
        console.print(_taken(rows))
    words = result["verdict"]
    assert isinstance(words, list)
    for sentence in words:
        console.print(f"- {sentence}", markup=False, highlight=False)
    console.print(
        f"\n{config.out / folder.RESULT}, {folder.TABLE} and figures/ hold it all.",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _taken(rows: list[dict[str, Any]]) -> Table:
    """Returns what each method takes and gives besides scores."""
    from rlprompt.report.tables import TAKEN, short

    table = Table(title="what it takes, means over runs", title_justify="left")
    for title in ("task", "forwards", "method"):
        table.add_column(title, overflow="fold", no_wrap=title == "method")
    for title in TAKEN.values():
        table.add_column(title, justify="right")
    for row in rows:
        values = [short(row[name]) for name in TAKEN]
        table.add_row(row["task"], f"{row['budget']:,}", row["method"], *values)
    return table


def _interval(row: dict[str, float | None], metric: str) -> str:
    value, low, high = (row[f"{metric}{end}"] for end in ("", "_low", "_high"))
    if value is None:
        return "-"
    return f"{value:.3f}" if low is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"
