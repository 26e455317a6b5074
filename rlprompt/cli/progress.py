"""A live line for a running job: forwards, speed, time left, the best prompt so far."""

from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.progress import Task as RichTask
from rich.text import Text

from rlprompt.core.events import Event


class _Speed(TextColumn):
    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: RichTask) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.0f} forwards/s", style="dim")


class Progress:
    """Shows events; an ``on_event`` listener and a context manager."""

    def __init__(self, console: Console) -> None:
        """Makes a display on a console; without a terminal it prints a line now and then."""
        self._console = console
        self._bars = RichProgress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            _Speed(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[best]}", markup=False),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._printed: dict[str, float] = {}

    def __enter__(self) -> "Progress":
        """Starts the display."""
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stops the display."""
        self._bars.stop()

    def __call__(self, event: Event) -> None:
        """Shows an event."""
        if event.message:
            self._console.print(f"{event.phase}: {event.message}", markup=False, highlight=False)
        best = "" if event.best_reward is None else f"{event.best_reward:.3f} {event.best_text!r}"
        if event.phase not in self._tasks:
            self._tasks[event.phase] = self._bars.add_task(event.phase, total=event.total, best="")
        self._bars.update(self._tasks[event.phase], completed=event.forwards, best=best)
        if not self._console.is_terminal:
            self._print_sometimes(event, best)

    def _print_sometimes(self, event: Event, best: str) -> None:
        """Prints a line for every tenth of a phase, for logs."""
        tenth = int(10 * event.forwards / max(1, event.total))
        if tenth > self._printed.get(event.phase, -1):
            self._printed[event.phase] = tenth
            self._console.print(
                f"{event.phase}: {event.forwards}/{event.total} forwards  {best}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
