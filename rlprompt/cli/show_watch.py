"""``rlprompt watch``: one frame."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rlprompt.cli.show_compare import duration
from rlprompt.cli.sparkline import ASCII, BLOCKS, sparkline
from rlprompt.compare import standing as comparisons
from rlprompt.run import standing as runs
from rlprompt.watch.watcher import Point

#: How many improvements are shown, and how wide a curve is at most.
IMPROVEMENTS, WIDEST = 5, 60
#: From how many columns on a comparison shows prompts.
WIDE = 80
_STYLES = {
    "running": "green",
    "done": "bold",
    "finished": "bold",
    "stopped": "red",
    "failed": "red",
    "waiting": "dim",
}


@dataclass(frozen=True, eq=False)
class Frame:
    """What is on the screen.

    Attributes:
        state: 'waiting', 'running', 'stopped' or 'finished'.
        body: what is shown.
        told: stands for what is shown: equal for frames that say the same; '' for the first.
    """

    state: str
    body: RenderableType
    told: str = " "


def frame_of(path: Path, console: Console) -> Frame | None:
    """Looks at a folder; None where nothing is there yet.

    Raises:
        RunError: the folder holds something else, or is damaged.
    """
    config = runs.read_config(path)
    if config is None:
        return None
    if "agent" in config:
        return run_frame(path, runs.read_standing(path, config), console)
    return comparison_frame(path, comparisons.read_standing(path), console)


def run_frame(path: Path, run: runs.RunStanding, console: Console) -> Frame:
    """Shows a run."""
    config, status = run.config, run.status
    points = run.curves.get(_current(run), [])
    told = f"{run.state} {status.get('phase')} {status.get('forwards')} {len(points)}"
    facts = _facts()
    names = f"{config['agent']} on {Path(config['task']).stem}, {Path(config['lm']).name}"
    facts.add_row("run", Text(f"{path.resolve().name}: {names}"))
    facts.add_row("state", _state(run.state, run.why))
    if run.state == "waiting":
        facts.add_row("", "nothing is scored yet: the LM is being loaded, or nothing runs")
        return Frame(run.state, facts, told)
    if run.state == "running" and not run.curves:
        facts.add_row("", "the first prompts are being scored")
    if status.get("total"):
        _add_progress(facts, run, console)
    if points:
        _add_curves(facts, points, console)
    if run.result is not None:
        test = run.result.scores["test"]
        text = f"accuracy {test.accuracy:.3f}, log-likelihood {test.log_likelihood:.3f}"
        facts.add_row("test", text)
    parts: list[RenderableType] = [facts]
    best = points[-1].text if run.result is None and points else None
    if run.result is not None:
        parts.insert(0, _prompt("learned prompt", run.result.prompt.text, console))
    elif best is not None:
        parts.insert(0, _prompt("best prompt so far", best, console))
    if points:
        parts.append(_improvements(points, console))
    return Frame(run.state, Group(*parts), told)


def _current(run: runs.RunStanding) -> str:
    """Returns whose curve is shown: of the search that runs, else of the run's own agent."""
    name = str(run.status.get("phase", "")).partition(" ")[2]
    return name if name in run.curves else str(run.config["agent"])


def _facts() -> Table:
    table = Table(box=None, show_header=False, padding=(0, 1), expand=False)
    table.add_column(style="bold", no_wrap=True, min_width=7)
    table.add_column(overflow="ellipsis", no_wrap=True)
    return table


def _state(state: str, why: str) -> Text:
    hint = "; the same command goes on with it" if state == "stopped" else ""
    return Text(f"{state}{f' ({why})' if why else ''}{hint}", style=_STYLES.get(state, ""))


def _prompt(title: str, text: str, console: Console) -> Panel:
    return Panel(Text(repr(text), style="bold"), title=title, title_align="left", box=_box(console))


def _box(console: Console) -> box.Box:
    return box.ROUNDED if _has_blocks(console) else box.ASCII


def _has_blocks(console: Console) -> bool:
    return console.encoding.lower().startswith("utf")


def _add_progress(facts: Table, run: runs.RunStanding, console: Console) -> None:
    status = run.status
    done, total = int(status["forwards"]), int(status["total"])
    phase = str(status["phase"])
    line = Table.grid(padding=(0, 1))
    line.add_row(
        phase,
        ProgressBar(total=total, completed=done, width=max(6, min(24, console.width - 54))),
        f"{done:,} of {total:,}",
    )
    facts.add_row("phase", line)
    if phase.startswith(("search", "tune")):
        facts.add_row("budget", f"{total - done:,} LM forwards left to this search")
    rate, left = status.get("per_second"), status.get("seconds_left")
    if rate and run.state == "running":
        ending = "" if left is None else f", {duration(float(left))} left at most, all phases"
        facts.add_row("speed", f"{rate:,.0f} forwards/s{ending}")


def _add_curves(facts: Table, points: Sequence[Point], console: Console) -> None:
    width = max(8, min(WIDEST, console.width - 24))
    marks = BLOCKS if _has_blocks(console) else ASCII

    def values(name: str) -> list[tuple[float, float]]:
        named = [(p.forwards, getattr(p, name)) for p in points]
        return [(x, y) for x, y in named if y is not None]

    best, mean = values("best"), values("mean")
    both = [y for _, y in (*best, *mean)]
    rows: tuple[tuple[str, list[tuple[float, float]], Callable[[float], str], bool], ...] = (
        ("best", best, "{:.3f}".format, True),
        ("mean", mean, "{:.3f}".format, True),
        ("entropy", values("entropy"), "{:.2f} nats".format, False),
        ("unique", values("unique"), "{:,.0f} prompts".format, False),
    )
    for name, curve, write, shared in rows:
        if curve:
            low, high = (min(both), max(both)) if shared else (None, None)
            drawn = sparkline(curve, width, low=low, high=high, marks=marks)
            facts.add_row(name, f"{write(curve[-1][1]):<13} {drawn}")


def _improvements(points: Sequence[Point], console: Console) -> Table:
    table = Table(title="last improvements", title_justify="left", box=None, padding=(0, 1))
    table.add_column("forwards", justify="right", no_wrap=True)
    table.add_column("reward", justify="right", no_wrap=True)
    table.add_column("prompt", overflow="ellipsis", no_wrap=True)
    found: list[Point] = []
    for point in points:
        if point.best is not None and (not found or point.best > (found[-1].best or 0.0)):
            found.append(point)
    for point in found[: -IMPROVEMENTS - 1 : -1]:
        table.add_row(f"{point.forwards:,}", f"{point.best:.3f}", Text(repr(point.text)))
    return table


def comparison_frame(
    path: Path, comparison: comparisons.ComparisonStanding, console: Console
) -> Frame:
    """Shows a comparison, a line a run: what runs first, then what failed, then the others."""
    order = ("running", "stopped", "failed", "done", "waiting")
    listed = sorted(comparison.runs, key=lambda run: order.index(run.state))
    counts = {state: sum(run.state == state for run in listed) for state in order}
    facts = _facts()
    facts.add_row("compare", Text(path.resolve().name))
    facts.add_row("state", _state(comparison.state, comparison.why))
    told = ", ".join(f"{number} {state}" for state, number in counts.items() if number)
    facts.add_row("runs", told or "none yet")
    room = max(3, console.height - 8) if console.is_terminal else len(listed)
    table = _runs_table(listed, listed[:room], console)
    parts: list[RenderableType] = [facts, table]
    if len(listed) > room:
        parts.append(Text(f" and {len(listed) - room} more", style="dim"))
    key = f"{comparison.state} {[(run.state, run.forwards) for run in listed]}"
    return Frame(comparison.state, Group(*parts), key)


def _runs_table(
    listed: Sequence[comparisons.RunStanding],
    shown: Sequence[comparisons.RunStanding],
    console: Console,
) -> Table:
    """Returns a line a run; what is the same for all of them is left out."""
    where: dict[str, Callable[[comparisons.RunStanding], str]] = {
        "method": lambda run: run.setting.method,
        "task": lambda run: Path(run.setting.task).stem,
        "split": lambda run: str(run.setting.split_seed),
        "seed": lambda run: str(run.setting.seed),
    }
    varied = [n for n, of in where.items() if n == "method" or len({of(r) for r in listed}) > 1]
    table = Table(box=None, padding=(0, 1))
    for name in varied:
        named = name in ("method", "task")
        table.add_column(name, no_wrap=True, justify="left" if named else "right")
    table.add_column("forwards", no_wrap=True, justify="right")
    table.add_column("state", no_wrap=True)
    table.add_column("reward", no_wrap=True, justify="right")
    wide = console.width >= WIDE
    if wide:
        table.add_column("prompt", overflow="ellipsis", no_wrap=True)
    for run in shown:
        begun = run.state in ("running", "stopped")
        forwards = f"{run.setting.budget:,}"
        row: list[RenderableType] = [Text(where[name](run)) for name in varied]
        row.append(f"{run.forwards:,}/{forwards}" if begun else forwards)
        row.append(Text(run.state, style=_STYLES.get(run.state, "")))
        row.append("" if run.reward is None else f"{run.reward:.3f}")
        if wide:
            row.append(Text(run.text if run.reward is None else repr(run.text)))
        table.add_row(*row)
    return table
