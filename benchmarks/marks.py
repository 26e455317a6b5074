"""Puts what a script made between its marks in a page; the scripts beside it import it."""

from pathlib import Path


def show(text: str, into: Path | None, begin: str, end: str) -> None:
    """Prints a text, or puts it between the marks of a file in place of what stands there.

    Args:
        text: in Markdown.
        into: the file; None to print.
        begin: mark before the text.
        end: mark behind it.

    Raises:
        SystemExit: the file has no such marks; it stays as it is.
    """
    if into is None:
        print(text)
        return
    head, _, rest = into.read_text(encoding="utf-8").partition(begin)
    _, mark, tail = rest.partition(end)
    if not mark:
        raise SystemExit(f"{into} has no {begin} and {end}: put them where the table goes.")
    into.write_text(f"{head}{begin}\n\n{text}\n\n{end}{tail}", encoding="utf-8")
