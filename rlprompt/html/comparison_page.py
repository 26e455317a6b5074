"""What stands on the page of a comparison."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlprompt.compare import folder as comparison
from rlprompt.compare.collect import RL_AGENTS
from rlprompt.core.errors import RunError
from rlprompt.html import plots
from rlprompt.html.anytime import Course, course_of
from rlprompt.html.commands import compare_command
from rlprompt.html.plots import IntervalPlot, Measured
from rlprompt.html.run_page import LETTERS, NATS, shortened
from rlprompt.report.cells import is_rl


@dataclass(frozen=True)
class Method:
    """One method in a cell.

    Attributes:
        row: its row of the summary.
        kind: 'RL', 'control', 'fixed' or 'tuned'.
        forwards: LM forwards of a run, mean; None for a fixed prompt.
        seconds: of a run, mean; None for a fixed prompt.
    """

    row: Mapping[str, Any]
    kind: str
    forwards: float | None
    seconds: float | None

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.row["method"])


@dataclass(frozen=True)
class Pair:
    """One method less another.

    Attributes:
        test: the test, as ``comparison.json`` has it.
        value: difference in nats, as the method of the row sees it.
        significant: whether it is told from 0.
    """

    test: Mapping[str, Any]
    value: float
    significant: bool


@dataclass(frozen=True)
class Cell:
    """A task and a budget.

    Attributes:
        task: name of the task.
        budget: LM forwards of each search.
        methods: best first by mean test log-likelihood.
        score_plots: these with their intervals.
        pairs: by method of the row and of the column, in log-likelihood.
        course: best train reward against LM forwards; None without any search.
    """

    task: str
    budget: int
    methods: tuple[Method, ...]
    score_plots: tuple[IntervalPlot, ...]
    pairs: Mapping[tuple[str, str], Pair]
    course: Course | None


@dataclass(frozen=True)
class ComparisonPage:
    """Everything that the page of a comparison shows.

    Attributes:
        name: of the folder.
        found: what ``comparison.json`` holds.
        cells: by task, then budget.
        command: makes the comparison again.
        file: the TOML file that the command takes; '' for none.
        tuned: titles of what tuned methods take, where there are any.
    """

    name: str
    found: Mapping[str, Any]
    cells: tuple[Cell, ...]
    command: str
    file: str
    tuned: Mapping[str, str]

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks."""
        return list(dict.fromkeys(cell.task for cell in self.cells))


def comparison_page(folder: Path) -> ComparisonPage:
    """Reads the folder of a comparison.

    Raises:
        RunError: ``comparison.json`` is missing, damaged or of another version.
    """
    path = folder / comparison.RESULT
    found = comparison.read(path)
    if found is None:
        raise RunError(f"No {path}: the comparison is not finished.")
    command, file = compare_command(found["config"], folder)
    named = {name: each["agent"] for name, each in found["config"]["methods"].items()}
    rl = frozenset(name for name, agent in named.items() if agent in RL_AGENTS)
    places = dict.fromkeys((row["task"], row["budget"]) for row in found["summary"])
    return ComparisonPage(
        name=folder.resolve().name,
        found=found,
        cells=tuple(_cell(found, task, budget, rl) for task, budget in places),
        command=command,
        file=file,
        tuned=_tuned(found["summary"]),
    )


def _tuned(summary: Sequence[Mapping[str, Any]]) -> Mapping[str, str]:
    if not summary or "bytes" not in summary[0]:
        return {}
    from rlprompt.report.tables import TAKEN

    return TAKEN


def _cell(found: Mapping[str, Any], task: str, budget: int, rl: frozenset[str]) -> Cell:
    here = [row for row in found["summary"] if (row["task"], row["budget"]) == (task, budget)]
    runs = [run for run in found["runs"] if (run["task"], run["budget"]) == (task, budget)]
    methods = tuple(_method(found, row, runs, rl) for row in here)
    tests = [
        test
        for test in found["tests"]
        if (test["task"], test["budget"], test["metric"]) == (task, budget, "log_likelihood")
    ]
    pairs = {}
    for test in tests:
        for one, other, sign in ((test["one"], test["other"], 1), (test["other"], test["one"], -1)):
            pairs[one, other] = Pair(test, sign * test["difference"], test["significant"])
    searched = [method.name for method in methods if method.kind in ("RL", "control")]
    course = course_of(
        {name: [run["trace"] for run in runs if run["method"] == name] for name in searched}, budget
    )
    return Cell(task, budget, methods, _score_plots(methods), pairs, course)


def _method(
    found: Mapping[str, Any],
    row: Mapping[str, Any],
    runs: Sequence[Mapping[str, Any]],
    rl: frozenset[str],
) -> Method:
    own = [run for run in runs if run["method"] == row["method"]]
    if row["fixed"]:
        return Method(row, "fixed", None, None)
    tuned = row["method"] in found["config"].get("tuners", {})
    kind = "tuned" if tuned else "RL" if is_rl(row["method"], rl) else "control"
    if not own:
        return Method(row, kind, None, None)
    forwards, seconds = (sum(run[key] for run in own) / len(own) for key in ("forwards", "seconds"))
    return Method(row, kind, forwards, seconds)


def _score_plots(methods: Sequence[Method]) -> tuple[IntervalPlot, ...]:
    drawn = []
    for title, label, metric in (
        ("Test log-likelihood", NATS, "log_likelihood"),
        ("Test accuracy", "share of right answers", "accuracy"),
    ):
        rows = []
        for method in methods:
            value, low, high = (method.row[f"{metric}{end}"] for end in ("", "_low", "_high"))
            if value is None:
                continue
            note = shortened(method.kind, LETTERS - len(method.name))
            ends = (value, value) if low is None or high is None else (low, high)
            rows.append(Measured(method.name, note, value, *ends, strong=method.kind == "RL"))
        if rows:
            drawn.append(plots.intervals(title, label, rows))
    return tuple(drawn)
