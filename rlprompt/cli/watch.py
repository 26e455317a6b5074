"""``rlprompt watch``."""

import io
import time
from pathlib import Path
from typing import Annotated

import typer

from rlprompt.cli.app import app, out
from rlprompt.core.errors import RunError

#: Seconds between two looks: in a terminal, and where each frame is printed below the last.
LIVE, PLAIN = 1.0, 10.0


@app.command()
def watch(
    run: Annotated[Path, typer.Argument(help="Folder of a run or of a comparison.")],
    once: Annotated[bool, typer.Option("--once", help="Show how it stands, and stop.")] = False,
    every: Annotated[
        float | None, typer.Option(min=0.1, help="Seconds between two looks; 1, or 10 in a log.")
    ] = None,
) -> None:
    """Watch a running job on one screen, from the files in its folder only.

    It ends when the job is finished; the exit code is 1 if the job stopped before.
    """
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    from rlprompt.cli.show_watch import Frame, frame_of

    if isinstance(out.file, io.TextIOWrapper):
        out.file.reconfigure(errors="replace")  # a prompt may hold what the terminal cannot show
    path = run.parent if run.name == "result.json" else run
    frame = frame_of(path, out)
    if once:
        if frame is None:
            raise RunError(f"No run at {path}: there is no such folder, or nothing in it yet.")
        out.print(frame.body)
        return
    waits = Frame("absent", Text(f"{path} is not there yet: waiting for it (Ctrl-C ends this)."))
    now, ran = frame or waits, False
    shown = ""
    with Live(
        console=out, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
    ) as live:
        while True:
            if out.is_terminal:
                live.update(Group(now.body), refresh=True)
            elif now.told != shown:
                shown = now.told
                out.print(now.body)
            ran = ran or now.state == "running"
            if now.state == "finished":
                return
            if ran and now.state == "stopped":
                raise typer.Exit(1)
            time.sleep(every or (LIVE if out.is_terminal else PLAIN))
            now = frame_of(path, out) or waits
