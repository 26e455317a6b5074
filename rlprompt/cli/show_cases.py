"""``rlprompt explain``: what settled prompts did on test."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.columns import Columns
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rlprompt.explain.records import Case, HeldOut, OnTest

#: Letters of an example that are shown.
LETTERS = 200


def table(title: str, columns: Sequence[str], first: Sequence[str] = ("",)) -> Table:
    """Returns an empty table with names to the left and numbers to the right."""
    made = Table(
        title=Text(title, style="bold"), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    for name in first:
        made.add_column(name, overflow="fold")
    for name in columns:
        made.add_column(name, justify="right", no_wrap=True)
    return made


def show_test(console: Console, found: HeldOut, labels: Sequence[str]) -> None:
    """Prints confusion matrices, calibration curve, wins and losses."""
    paid = f"{found.paid:,} LM forwards" if found.paid else "nothing, from the run's log"
    console.print(
        Text.assemble(("test", "bold"), f": {found.scored:,} examples; cost: {paid}"),
        highlight=False,
    )
    console.print(
        Columns(
            [
                _confusion(name, found.prompts[name], labels)
                for name in ("learned", "manual", "empty")
                if name in found.prompts
            ]
        )
    )
    console.print(_curve(found))
    if found.duel is not None:
        for title, cases in (
            ("wins most over the manual prompt", found.duel.wins),
            ("loses most", found.duel.losses),
        ):
            if cases:
                console.print(_cases(title, cases))


def _confusion(name: str, each: OnTest, labels: Sequence[str]) -> Table:
    made = table(f"{name} {each.text!r}", labels, ("right label",))
    for label, row in zip(labels, each.confusion, strict=True):
        made.add_row(Text(label), *map(str, row))
    return made


def _curve(found: HeldOut) -> Table:
    learned = found.prompts["learned"]
    after, before = learned.reliability, learned.reliability_uncalibrated
    made = table(
        f"calibration curve: error {before.ece:.3f} before calibration, {after.ece:.3f} after",
        ("examples", "P", "right", "before: examples", "P", "right"),
        ("P of the likeliest label",),
    )
    for one, other in zip(after.bins, before.bins, strict=True):
        if one.count or other.count:
            row = [f"{one.low:.1f} to {one.high:.1f}"]
            for each in (one, other):
                row += (
                    [str(each.count), f"{each.confidence:.3f}", f"{each.accuracy:.3f}"]
                    if each.count
                    else ["0", "", ""]
                )
            made.add_row(*row)
    return made


def _cases(title: str, cases: Sequence[Case]) -> Table:
    made = table(title, ("learned", "manual"), ("example", "label"))
    for case in cases:
        made.add_row(
            Text(_short(" / ".join(case.fields.values()))),
            Text(case.label),
            *(f"{each[case.label]:.3f}" for each in (case.learned, case.manual)),
        )
    made.caption = Text("P of the right label under each prompt", style="dim")
    made.caption_justify = "left"
    return made


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LETTERS else f"{text[: LETTERS - 1]}…"
