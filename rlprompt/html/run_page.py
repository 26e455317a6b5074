"""What stands on the page of a run."""

import json
import shlex
from dataclasses import dataclass
from pathlib import Path

from rlprompt.core.errors import RLPromptError, RunError
from rlprompt.core.prompt import Prompt
from rlprompt.core.result import Candidate, Ensemble, Result, Search
from rlprompt.explain.decoding import decoded
from rlprompt.explain.records import EXPLANATION
from rlprompt.explain.records import load as load_explanation
from rlprompt.html import plots
from rlprompt.html.archive import Row, read_archive, task_of
from rlprompt.html.commands import optimize_command
from rlprompt.html.effects import Effects, effects_of
from rlprompt.html.learning import Learning, read_learning
from rlprompt.html.pareto import Pareto, pareto_of
from rlprompt.html.plots import IntervalPlot, Measured, Plot
from rlprompt.run import folder
from rlprompt.run.transfer import TRANSFER
from rlprompt.run.transfer_table import SCHEMA, Transfer, notes, summary
from rlprompt.tasks.task import Task
from rlprompt.tasks.template import Template

#: Folder in that of a run where a transfer is looked for.
MOVED = "transfer"
#: Rows of the archive on the page: a page is to be read.
ROWS = 200
#: Letters of a name and a prompt above their interval.
LETTERS = 50
NATS = "mean log-probability of the right label, nats"


@dataclass(frozen=True)
class RunPage:
    """Everything that the page of a run shows.

    Attributes:
        name: of the run's folder.
        run: the folder, as it was named.
        result: the result.
        slots: texts of the tokens in each of the template's slots.
        scored: what was scored on test, by name, the learned prompt first.
        score_plots: these with their intervals.
        learning: where the curves are from.
        learning_plots: the curves.
        archive: the best of it.
        archive_size: prompts scored in all, and how many of them for the run's own agent.
        archive_why: why it is not whole; '' if it is.
        pareto: reward against length; None where lengths are not known.
        effects: what each token does, and test in detail; None without an explanation.
        transfer: the prompt on other LMs; None without.
        command: makes the run again.
        command_note: what the command does not say; '' for nothing.
    """

    name: str
    run: str
    result: Result
    slots: tuple[tuple[str, ...], ...]
    scored: dict[str, Candidate | Ensemble]
    score_plots: tuple[IntervalPlot, ...]
    learning: Learning
    learning_plots: tuple[Plot, ...]
    archive: tuple[Row, ...]
    archive_size: tuple[int, int]
    archive_why: str
    pareto: Pareto | None
    effects: Effects | None
    transfer: Transfer | None
    command: str
    command_note: str

    @property
    def searches(self) -> dict[str, Search]:
        """What was searched, by agent, the run's own first."""
        return {self.result.main.agent: self.result.main, **self.result.controls}

    @property
    def run_word(self) -> str:
        """The folder as a word of a command line."""
        return shlex.quote(self.run)

    @property
    def transfer_word(self) -> str:
        """Where this report finds a transfer by itself, as a word of a command line."""
        return shlex.quote(str(Path(self.run) / MOVED))

    @property
    def transfer_says(self) -> list[str]:
        """What the transfer came to, in sentences."""
        return [] if self.transfer is None else summary(self.transfer)

    @property
    def transfer_notes(self) -> list[str]:
        """How each LM was asked."""
        return [] if self.transfer is None else notes(self.transfer)


def run_page(run: Path, *, transfer: Path | None = None, data_root: Path | None = None) -> RunPage:
    """Reads the folder of a finished run, and changes nothing in it.

    Args:
        run: the folder.
        transfer: folder of ``rlprompt transfer`` with this run's prompt; None for the folder
            'transfer' in that of the run, if it is there.
        data_root: folder that ``{data_root}`` stands for in the task's ``.toml`` file.

    Raises:
        RunError: the run is not finished, or one of its files is damaged.
    """
    result = Result.load(run / folder.RESULT)
    explanation = load_explanation(run) if (run / EXPLANATION).exists() else None
    if explanation is not None and explanation.prompt.ids != result.prompt.ids:
        raise RunError(
            f"{run / EXPLANATION} is of another prompt: run rlprompt explain {run} again."
        )
    moved = _transfer_of(run, result, transfer)
    task: Task | str
    try:
        task, note = task_of(result, data_root), ""
    except (RLPromptError, KeyError) as error:
        # What the page lacks for it is said where it is missing.
        task, note = str(error), f"The command needs the run's data to be in place: {error}"
    archive = read_archive(run, result, task)
    learning = read_learning(run, result, archive)
    scored = result.tested
    own = sum(row.own for row in archive.rows)
    return RunPage(
        name=run.resolve().name,
        run=str(run),
        result=result,
        slots=_slots(result),
        scored=scored,
        score_plots=_score_plots(scored),
        learning=learning,
        learning_plots=_learning_plots(result, learning),
        archive=archive.rows[:ROWS],
        archive_size=(len(archive.rows), own),
        archive_why=archive.why,
        pareto=pareto_of(archive),
        effects=None if explanation is None else effects_of(explanation),
        transfer=moved,
        command=optimize_command(result, run),
        command_note=note,
    )


def _slots(result: Result) -> tuple[tuple[str, ...], ...]:
    """Returns the texts of the learned prompt's tokens, slot by slot."""
    parts = Prompt(result.prompt.ids).parts(Template(**result.template).sizes)
    tokens = iter(result.prompt.tokens)
    return tuple(tuple(next(tokens) for _ in part) for part in parts)


def _score_plots(scored: dict[str, Candidate | Ensemble]) -> tuple[IntervalPlot, ...]:
    found = []
    for title, label, measure in (
        ("Test log-likelihood", NATS, "log_likelihood"),
        ("Test accuracy", "share of right answers", "accuracy"),
    ):
        rows = []
        for n, (name, candidate) in enumerate(scored.items()):
            scores = candidate.scores["test"]
            value = getattr(scores, measure)
            low, high = getattr(scores, f"{measure}_interval") or (value, value)
            note = shortened(", ".join(map(repr, candidate.texts)), LETTERS - len(name))
            rows.append(Measured(name, note, value, low, high, strong=n == 0))
        found.append(plots.intervals(title, label, rows))
    return tuple(found)


def shortened(text: str, width: int) -> str:
    """Returns at most so many letters of a text."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _learning_plots(result: Result, learning: Learning) -> tuple[Plot, ...]:
    agent = result.main.agent
    best = {f"best, {name}": points for name, points in learning.best.items() if points}
    steps = frozenset(best)
    mean = {f"mean, {agent}": learning.mean} if learning.mean else {}
    styles = {name: n for n, name in enumerate(best)} | {name: len(best) for name in mean}
    budget = (0.0, float(result.budget["forwards"]))
    x = "LM forwards"
    found = [
        plots.lines(
            "Reward on train", x, "", {**best, **mean}, steps=steps, x_range=budget, styles=styles
        )
    ]
    for title, label, points in (
        ("Distinct prompts scored", "prompts", learning.unique),
        ("Entropy of the policy", "nats a token", learning.entropy),
    ):
        if points:
            found.append(plots.lines(title, x, label, {agent: points}, x_range=budget))
    return tuple(found)


def _transfer_of(run: Path, result: Result, given: Path | None) -> Transfer | None:
    """Reads a transfer of the run's prompt.

    Raises:
        RunError: there is none where one was named, it is damaged, or of another run.
    """
    path = (run / MOVED if given is None else given) / TRANSFER
    if given is None and not path.exists():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if value["schema"] != SCHEMA:
            raise RunError(f"{path} is of another version: run rlprompt transfer again.")
        found = decoded(Transfer, value)
        ours = [(each["prompt"], each["lm"]["fingerprint"]) for each in found.runs]
    except FileNotFoundError as error:
        raise RunError(f"No {TRANSFER} in {path.parent}: rlprompt transfer writes it.") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"Cannot read {path}: {error!r}. Run rlprompt transfer again.") from error
    if (result.prompt.text, result.lm["fingerprint"]) not in ours:
        raise RunError(
            f"{path} is of other prompts ({', '.join(repr(text) for text, _ in ours)}), not of "
            f"this run's {result.prompt.text!r}."
        )
    return found
