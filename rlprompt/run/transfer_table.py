"""A matrix of prompts and LMs, as data, in sentences and as a Markdown table."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rlprompt.core.result import PromptRecord, SplitScores
from rlprompt.core.statistics import Estimate

SCHEMA = 1


@dataclass(frozen=True)
class Row:
    """A prompt.

    Attributes:
        name: name of the row.
        kind: 'learned', 'manual' or 'empty'.
        text: exact text, as it stands in the slot of the template of its run.
        run: name of that run; of the first one, where runs share the prompt.
        against: of a learned prompt, the rows it is compared with, by their kind.
    """

    name: str
    kind: str
    text: str
    run: str
    against: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Difference:
    """A learned prompt's scores less another's on the same test examples and LM, paired.

    Attributes:
        accuracy: calibrated, in [-1, 1], with 95 % bootstrap interval over examples.
        log_likelihood: calibrated, in nats, likewise.
    """

    accuracy: Estimate
    log_likelihood: Estimate


@dataclass(frozen=True)
class Cell:
    """A prompt on an LM.

    Attributes:
        template: source and answer_prefix, as adapted to the LM.
        prompt: what the LM's tokenizer makes of the text; its ``text`` is that of the ids.
        survives: whether that is the text that went in.
        calibration: bias of each label in nats, fitted on train with this LM.
        train: scores on train.
        test: scores on test, with intervals.
        truncated: by split, how many examples' text was cut.
        differences: of a learned prompt, by the kind of row it is compared with.
    """

    template: dict[str, str]
    prompt: PromptRecord
    survives: bool
    calibration: dict[str, float]
    train: SplitScores
    test: SplitScores
    truncated: dict[str, int]
    differences: dict[str, Difference] = field(default_factory=dict)


@dataclass(frozen=True)
class Column:
    """An LM.

    Attributes:
        name: short name, of its own in the matrix.
        identity: of the LM, with its fingerprint.
        learned_here: names of the rows whose prompts were learned on it.
        cells: by name of the row; rows that cannot be scored on it are missing.
        forwards: LM forwards, those of an earlier process included.
        tokens: tokens of these.
        seconds: seconds inside the LM.
    """

    name: str
    identity: dict[str, str]
    learned_here: tuple[str, ...]
    cells: dict[str, Cell]
    forwards: int
    tokens: int
    seconds: float


@dataclass(frozen=True)
class Failure:
    """What could not be scored.

    Attributes:
        lm: short name of the LM.
        rows: names of the rows that are missing.
        message: why.
    """

    lm: str
    rows: tuple[str, ...]
    message: str


@dataclass(frozen=True)
class Transfer:
    """Prompts of finished runs on several LMs.

    Attributes:
        rows: the prompts.
        columns: the LMs, those that prompts were learned on first.
        failures: what is missing.
        task: name, version, labels and language.
        test: hash, size, how many examples were scored, and why test was opened again.
        runs: of each run its folder, LM, template, label words, split hashes, configuration and the
            test scores that it has recorded itself.
        versions: of the packages that matter.
    """

    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    failures: tuple[Failure, ...]
    task: dict[str, Any]
    test: dict[str, Any]
    runs: tuple[dict[str, Any], ...]
    versions: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Returns what ``transfer.json`` holds."""
        return {"schema": SCHEMA, **asdict(self)}


def short_names(names: Sequence[str]) -> list[str]:
    """Returns the last part of each name, or the whole of it where that is not enough.

    >>> short_names(["openai-community/gpt2", "/lms/a", "/lms/b/a"])
    ['gpt2', '/lms/a', '/lms/b/a']
    """
    ends = [Path(name).name or name for name in names]
    return [end if ends.count(end) == 1 else name for end, name in zip(ends, names, strict=True)]


def summary(found: Transfer) -> list[str]:
    """Returns what the matrix says of each learned prompt, one sentence for each comparison."""
    sentences = []
    for row in found.rows:
        for kind in row.against:
            own: list[Estimate] = []
            others: list[Estimate] = []
            for column in found.columns:
                if row.name in column.cells:
                    estimate = column.cells[row.name].differences[kind].log_likelihood
                    (own if row.name in column.learned_here else others).append(estimate)
            if not own + others:
                continue
            better = sum(each.low > 0 for each in others)
            worse = sum(each.high < 0 for each in others)
            here = f"{signed(own[0])} on its own LM" if own else "not scored on its own LM"
            sentences.append(
                f"{row.name} - {kind}, log-likelihood: {here}; on {len(others)} other LMs better "
                f"on {better}, worse on {worse}, undecided on {len(others) - better - worse} (each "
                "by its own interval)."
            )
    return sentences


def notes(found: Transfer) -> list[str]:
    """Returns, for each LM, the templates it was asked with and which texts it reads otherwise."""
    lines = []
    for column in found.columns:
        sources = dict.fromkeys(repr(cell.template["source"]) for cell in column.cells.values())
        line = f"{column.name} ({column.identity['family']}): {', '.join(sources)}"
        cut = max(cell.truncated["test"] for cell in column.cells.values())
        line += f"; {cut} test texts cut" if cut else ""
        changed = [
            f"{row.text!r} is read as {column.cells[row.name].prompt.text!r}"
            for row in found.rows
            if row.name in column.cells and not column.cells[row.name].survives
        ]
        lines.append("; ".join([line, *dict.fromkeys(changed)]))
    return lines


def markdown(found: Transfer) -> str:
    """Returns both matrices, of accuracy and of log-likelihood, as Markdown tables."""
    test = found.test
    lines = [
        "# Prompts on other LMs",
        "",
        f"Task {found.task['name']}, {test['scored']} of {test['size']} test examples. Every "
        "prompt goes to every LM as text; calibration is fitted on train anew. In brackets 95 % "
        "bootstrap intervals over test examples; differences are paired. A star marks the LM that "
        "a prompt was learned on.",
        "",
        *(f"* {_escaped(sentence)}" for sentence in summary(found)),
    ]
    for measure, title in (("accuracy", "Accuracy"), ("log_likelihood", "Log-likelihood")):
        lines += [
            "",
            f"## {title}",
            "",
            "| prompt | " + " | ".join(_escaped(column.name) for column in found.columns) + " |",
            "|---|" + "---:|" * len(found.columns),
        ]
        for row in found.rows:
            cells = []
            for column in found.columns:
                cell = column.cells.get(row.name)
                star = " \\*" if row.name in column.learned_here else ""
                cells.append("" if cell is None else scored(cell.test, measure) + star)
            lines.append(f"| {_escaped(row.name)} | {' | '.join(cells)} |")
        for row in found.rows:
            for kind in row.against:
                cells = []
                for column in found.columns:
                    cell = column.cells.get(row.name)
                    cells.append(
                        "" if cell is None else signed(getattr(cell.differences[kind], measure))
                    )
                lines.append(f"| {_escaped(row.name)} - {kind} | {' | '.join(cells)} |")
    lines += ["", "## Prompts", ""]
    lines += [f"* {_escaped(row.name)}: `{row.text!r}`" for row in found.rows]
    lines += ["", "## LMs", "", *(f"* {_escaped(note)}" for note in notes(found))]
    lines += [
        f"* {_escaped(each.lm)}: no score of {_escaped(', '.join(each.rows))}: "
        f"{_escaped(each.message)}"
        for each in found.failures
    ]
    return "\n".join(lines) + "\n"


def signed(estimate: Estimate) -> str:
    """Writes a difference with its interval."""
    return f"{estimate.value:+.3f} [{estimate.low:+.3f} {estimate.high:+.3f}]"


def scored(scores: SplitScores, measure: str) -> str:
    """Writes a score, 'accuracy' or 'log_likelihood', with its interval."""
    low, high = getattr(scores, f"{measure}_interval")
    return f"{getattr(scores, measure):.3f} [{low:.3f} {high:.3f}]"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")
