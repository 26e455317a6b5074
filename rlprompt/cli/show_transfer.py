"""``rlprompt transfer``: the matrix of prompts and LMs."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rlprompt.core.statistics import Estimate
from rlprompt.run.transfer import TABLE, TRANSFER
from rlprompt.run.transfer_table import (
    Cell,
    Column,
    Row,
    Transfer,
    notes,
    scored,
    signed,
    summary,
)

#: Widest name of a row, and what a cell takes with the space around it: "-0.693 [-0.712 -0.675]".
NAMES, CELL = 24, 24
#: Letters of an LM's name that a heading has room for.
HEADING = CELL - 2
UP, DOWN = "green", "red"


def show_transfer(console: Console, found: Transfer, out: Path | None) -> None:
    """Prints the matrix, what it says, what is missing, and where the files are."""
    at_once = max(1, (console.width - NAMES - 2) // CELL)
    for start in range(0, len(found.columns), at_once):
        title = (
            f"{found.task['name']}: {found.test['scored']} of {found.test['size']} test examples"
            if not start
            else None
        )
        console.print(_table(found, found.columns[start : start + at_once], title))
    lines = [
        *summary(found),
        "Each cell: accuracy, and below it the log-likelihood in nats, calibrated on train with "
        "that LM; 95 % bootstrap intervals over test examples, differences paired. *: the LM that "
        "the prompt was learned on.",
        "Test was opened again, for prompts that were all settled before.",
        *notes(found),
        f"Spent: {sum(column.forwards for column in found.columns):,} LM forwards, "
        f"{sum(column.seconds for column in found.columns):.0f} s in the LMs.",
    ]
    console.print("\n".join(lines), style="dim", highlight=False, markup=False)
    for failure in found.failures:
        console.print(
            Text.assemble(
                (failure.lm, "bold red"),
                f": no score of {', '.join(failure.rows)}: {failure.message}",
            )
        )
    if out is not None:
        console.print(f"files: {out / TABLE}, {out / TRANSFER}", markup=False, highlight=False)


def _table(found: Transfer, columns: Sequence[Column], title: str | None) -> Table:
    table = Table(
        title=None if title is None else Text(title, style="bold"),
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1),
    )
    table.add_column("prompt", overflow="fold", max_width=NAMES)
    for column in columns:
        # The end of a long name says more than its beginning.
        name = column.name if len(column.name) <= HEADING else f"…{column.name[1 - HEADING :]}"
        table.add_column(Text(name), justify="right", no_wrap=True)
    for row in found.rows:
        last = row is found.rows[-1]
        prompt = Text.assemble((row.name, "bold"), "\n", (repr(row.text), "dim"))
        table.add_row(prompt, *_cells(row, columns), end_section=last)
    for row, kind in _comparisons(found.rows):
        pair = Text.assemble((row.name, "bold"), f"\n- {kind}")
        table.add_row(pair, *(_difference(column.cells.get(row.name), kind) for column in columns))
    return table


def _comparisons(rows: Sequence[Row]) -> Iterator[tuple[Row, str]]:
    for row in rows:
        for kind in row.against:
            yield row, kind


def _cells(row: Row, columns: Sequence[Column]) -> Iterator[Text]:
    for column in columns:
        cell = column.cells.get(row.name)
        if cell is None:
            yield Text("not scored", style="dim italic")
        else:
            star = "*" if row.name in column.learned_here else ""
            yield Text.assemble(
                (star, "bold"),
                scored(cell.test, "accuracy"),
                "\n",
                scored(cell.test, "log_likelihood"),
            )


def _difference(cell: Cell | None, kind: str) -> Text:
    if cell is None:
        return Text("")
    both = cell.differences[kind]
    return Text.assemble(_signed(both.accuracy), "\n", _signed(both.log_likelihood))


def _signed(estimate: Estimate) -> tuple[str, str]:
    decided = UP if estimate.low > 0 else DOWN if estimate.high < 0 else ""
    return signed(estimate), decided
