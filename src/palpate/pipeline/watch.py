"""What a person sees while a run works: a bar per stage with the time that remains."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

from palpate.progress import Progress


@contextmanager
def watching() -> Iterator[Progress]:
    """Draw progress on standard error; a line now and then where that is not a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (
        TextColumn("[bold]{task.description:<11}"), BarColumn(bar_width=28),
        MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[note]}"),
    )  # fmt: skip
    with Bars(*columns, console=console) as bars:
        yield _Bars(bars)


class _Bars:
    def __init__(self, bars: Bars) -> None:
        self.bars = bars
        self.tasks: dict[str, TaskID] = {}

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        if stage not in self.tasks:
            self.tasks[stage] = self.bars.add_task(stage, note=note)
        self.bars.update(self.tasks[stage], completed=done, total=total, note=note)


class _Lines:
    """For log files: a line at every twentieth of a stage."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.shown: dict[str, int] = {}

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        part = done * 20 // max(total, 1)
        if part > self.shown.get(stage, -1):
            self.shown[stage] = part
            self.console.print(f"{stage}: {done}/{total} {note}", highlight=False)
