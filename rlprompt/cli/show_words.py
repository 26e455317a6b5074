"""``rlprompt words``: the table of what single words do."""

from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rlprompt.run.words import TABLE, WORDS
from rlprompt.run.words_table import Effect, WordEffect, WordEffects, summary

#: Cells of a bar on either side of zero.
REACH = 7
#: Narrower than this there is no room for bars.
ROOM = 96
UP, DOWN = "green", "red"


def show_words(console: Console, found: WordEffects, top: int, out: Path | None) -> None:
    """Prints the words at both ends, what is to be said of all, and where the files are."""
    best, worst = found.ends(top)
    shown = [*best, *worst]
    scale = max(abs(row.train.value) for row in shown) or 1.0
    bars = console.width >= ROOM
    table = Table(
        title=Text(
            f"what {len(found.rows):,} single words do: {found.task['name']}, "
            f"{found.splits['train']['size']} train examples, {found.lm['name']}",
            style="bold",
        ),
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("", justify="right", style="dim", no_wrap=True)
    table.add_column("word", no_wrap=True)
    table.add_column("effect on train", no_wrap=True)
    if bars:
        table.add_column("", no_wrap=True)
    table.add_column("accuracy", justify="right", no_wrap=True)
    table.add_column("leans to", overflow="fold")
    table.add_column("on dev", justify="right", no_wrap=True)
    for row in best:
        table.add_row(*_cells(row, scale, bars, console.options.ascii_only))
    if worst:
        if hidden := len(found.rows) - len(shown):
            table.add_row("", Text(f"{hidden:,} more", style="dim italic"))
        table.add_section()
    for row in worst:
        table.add_row(*_cells(row, scale, bars, console.options.ascii_only))
    console.print(table)
    lines = [
        *summary(found, top),
        f"Effect: {found.reward} with the word alone as the prompt, less the empty prompt's; 95 % "
        "bootstrap interval over examples. Accuracy: its change on train. Leans to: whose "
        "log-probability it raises most over the labels' mean, whatever the input.",
        f"Spent: {found.ledger['forwards']:,} LM forwards, {found.ledger['seconds']:.0f} s in the "
        "LM.",
    ]
    console.print("\n".join(lines), style="dim", highlight=False, markup=False)
    if out is not None:
        console.print(f"files: {out / TABLE}, {out / WORDS}", markup=False, highlight=False)


def _cells(row: WordEffect, scale: float, bars: bool, ascii_only: bool) -> list[str | Text]:
    label, by = row.leaning
    return [
        str(row.rank),
        Text(repr(row.text), style="bold" if row.significant else ""),
        Text.assemble(
            (f"{row.train.value:+.3f}", _colour(row.train)),
            "*" if row.significant else " ",
            (f" [{row.train.low:+.3f} {row.train.high:+.3f}]", "dim"),
        ),
        *([bar(row.train.value / scale, ascii_only=ascii_only)] if bars else []),
        f"{row.train.accuracy:+.3f}" if row.train.accuracy else Text("0", style="dim"),
        Text(f"{label} {by:+.2f}"),
        "" if row.dev is None else Text(f"{row.dev.value:+.3f}", style=_colour(row.dev)),
    ]


def _colour(effect: Effect) -> str:
    return UP if effect.value > 0 else DOWN


def bar(share: float, *, ascii_only: bool = False) -> Text:
    """Draws a share of the longest bar, to the right of zero if positive, else to the left.

    Args:
        share: from -1 to 1.
        ascii_only: whether the terminal knows no block characters.

    >>> bar(0.5).plain
    '       │███▌   '
    >>> bar(-1, ascii_only=True).plain
    '#######|       '
    """
    halves = round(abs(share) * 2 * REACH)
    whole, half = divmod(halves, 2)
    full, left, right, zero = ("#", "-", "-", "|") if ascii_only else ("█", "▐", "▌", "│")
    if share < 0:
        drawn, style = ((left * half + full * whole).rjust(REACH), " " * REACH), DOWN
    else:
        drawn, style = (" " * REACH, (full * whole + right * half).ljust(REACH)), UP
    return Text.assemble((drawn[0], style), (zero, "dim"), (drawn[1], style))
