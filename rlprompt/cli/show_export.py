"""``rlprompt export``: what was written, and whether the other tool reads the same."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from rlprompt.export.check import Check
    from rlprompt.export.export import Exported

_STYLES = {"passed": "bold green", "failed": "bold red", "unchecked": "bold yellow"}


def show_export(console: Console, to: str, found: "Exported") -> None:
    """Prints the files, what the prompt needs beside its text, and the check."""
    check = found.check
    console.print(Text.assemble((f"{to}: ", "bold"), str(found.path)))
    console.print(Text(found.artifact.described(), style="dim"))
    console.print(Text.assemble("check: ", (check.outcome, _STYLES[check.outcome]), _told(check)))
    if found.note:
        console.print(Text(found.note, style="dim"))
    console.print(Text(f"facts and check: {found.about}", style="dim"))


def _told(check: "Check") -> str:
    told = f" by {check.by}" if check.by else ""
    if check.examples:
        told += (
            f", {check.examples} examples: {check.inputs} same inputs, {check.ids} same token ids"
        )
    if check.difference is not None:
        told += (
            f", label log-probabilities within {check.difference:.1e} nats "
            f"({check.tolerance:.0e} allowed)"
        )
    return told + (f": {check.reason}" if check.reason else "")
