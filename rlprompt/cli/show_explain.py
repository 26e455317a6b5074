"""``rlprompt explain``: what is to be said, and the tables behind it."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from rlprompt.cli.show_cases import show_test, table
from rlprompt.core.statistics import Estimate
from rlprompt.explain.records import EXPLANATION, Explanation, Reworded, Variant
from rlprompt.explain.summary import negative, summary, written
from rlprompt.run.optimize import run_folder

#: Orders shown at each end.
ENDS = 3
UP, DOWN = "green", "red"


def show_explanation(console: Console, found: Explanation, run: Path) -> None:
    """Prints an explanation."""
    console.print(
        Panel(
            Text(repr(found.prompt.text), style="bold"),
            title="why it works",
            title_align="left",
            subtitle=Text(f"goes into {found.template['source']!r}"),
            subtitle_align="right",
        )
    )
    for sentence in summary(found):
        console.print(f"- {sentence}", markup=False, highlight=False)
    console.print()
    console.print(_base(found))
    if found.tokens:
        console.print(_tokens(found))
    if found.orders is not None and found.orders.variants:
        console.print(_orders(found.orders.variants))
    if any(token.swaps for token in found.tokens):
        console.print(_swaps(found))
    for title, rows in (
        ("other templates", found.templates),
        ("other label words", found.label_words),
    ):
        if rows:
            console.print(_reworded(title, rows))
    if found.test is not None:
        show_test(console, found.test, found.labels)
    _notes(console, found, run_folder(run) / EXPLANATION)


def _notes(console: Console, found: Explanation, path: Path) -> None:
    train, dev = found.splits["train"]["size"], found.splits["dev"]["size"]
    ledger = found.ledger
    lines = [
        f"Differences are in nats of log-likelihood, calibrated on train, over {train} train and "
        f"{dev} dev examples, paired, with 95 % bootstrap intervals over examples. Green: above 0; "
        "red: below 0; else not told apart from 0.",
        *(f"Left out: {each}" for each in found.left_out),
        f"Spent: {ledger['forwards']:,} of {found.settings['budget']:,} LM forwards, "
        f"{ledger['seconds']:.0f} s in the LM; {ledger['free']:,} more came from the run's log."
        + (
            f" Everything takes --budget {ledger['wanted']}."
            if ledger["wanted"] > found.settings["budget"]
            else ""
        ),
    ]
    console.print("\n".join(lines), style="dim", highlight=False, markup=False)
    console.print(f"file: {path}", markup=False, highlight=False, soft_wrap=True)


def _base(found: Explanation) -> Table:
    made = table("train and dev", ("accuracy", "log-likelihood", "learned less this"), ("prompt",))
    for name, each in found.base.items():
        made.add_row(
            Text.assemble((name, "bold"), " ", (repr(each.text), "dim")),
            f"{each.accuracy:.3f}",
            f"{each.log_likelihood:.3f}",
            "" if name == "learned" else estimate(negative(each.versus.log_likelihood)),
        )
    return made


def _tokens(found: Explanation) -> Table:
    empty = found.base["empty"].log_likelihood
    titles = ("prompt without it", "adds to those left of it", "alone", "share")
    made = table("what each token does", titles, ("token",))
    for token in found.tokens:
        alone, share = token.alone, token.share
        made.add_row(
            Text(repr(token.token), style="bold"),
            _versus(token.left_out),
            Text("") if token.adds is None else estimate(token.adds.log_likelihood),
            "" if alone is None else f"{alone.log_likelihood - empty:+.3f}",
            Text("") if share is None else _value(share),
        )
    made.caption = Text(
        "alone: over the empty prompt; share: Shapley value, the shares sum to learned less empty",
        style="dim",
    )
    made.caption_justify = "left"
    return made


def _orders(variants: Sequence[Variant]) -> Table:
    made = table("other orders", ("accuracy", "less learned"), ("prompt",))
    for each in variants[:ENDS]:
        made.add_row(repr(each.text), f"{each.accuracy:.3f}", _versus(each))
    last = variants[max(ENDS, len(variants) - ENDS) :]
    if hidden := len(variants) - ENDS - len(last):
        made.add_row(Text(f"{hidden} more", style="dim italic"))
    for each in last if len(variants) > ENDS else ():
        made.add_row(repr(each.text), f"{each.accuracy:.3f}", _versus(each))
    return made


def _swaps(found: Explanation) -> Table:
    made = table("near words", ("cosine", "accuracy", "less learned"), ("token", "in its place"))
    for token in found.tokens:
        for n, swap in enumerate(token.swaps):
            made.add_row(
                Text("" if n else repr(token.token), style="bold"),
                Text(repr(swap.by)),
                f"{swap.similarity:.2f}",
                f"{swap.variant.accuracy:.3f}",
                _versus(swap.variant),
                end_section=n == len(token.swaps) - 1,
            )
    return made


def _reworded(title: str, rows: Sequence[Reworded]) -> Table:
    made = table(title, ("accuracy", "less its own", "learned less manual"), ("change",))
    for row in rows:
        margin = row.margin
        made.add_row(
            Text(row.name),
            f"{row.learned.accuracy:.3f}",
            _versus(row.learned),
            Text("") if margin is None else estimate(margin.log_likelihood),
        )
    return made


def estimate(each: Estimate) -> Text:
    """Writes a difference, coloured where it is told apart from 0."""
    return Text(written(each), style=_colour(each))


def _value(each: Estimate) -> Text:
    return Text(f"{each.value:+.3f}", style=_colour(each))


def _colour(each: Estimate) -> str:
    return UP if each.low > 0 else DOWN if each.high < 0 else ""


def _versus(variant: Variant | None) -> Text:
    return Text("") if variant is None else estimate(variant.versus.log_likelihood)
