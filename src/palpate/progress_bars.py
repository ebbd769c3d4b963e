"""Progress bars with the remaining time, one per stage; in terminals, notebooks and log files."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib.util import find_spec
from math import inf

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

from palpate.progress import Progress, silent

_MINUTE = 60.0


@contextmanager
def show_progress(*, lines: bool = True) -> Iterator[Progress]:
    """Draw progress bars on standard error, or print occasional lines if it is not a terminal.

    In a notebook, bars need the package ipywidgets; without it there are lines.

    Args:
        lines: Whether to print lines where there is neither a terminal nor a notebook.
    """
    console = Console(stderr=True)
    if not console.is_terminal and not (console.is_jupyter and find_spec("ipywidgets")):
        plain = Console(stderr=True, force_jupyter=False) if console.is_jupyter else console
        yield _Lines(plain) if lines or console.is_jupyter else silent
        return
    columns = (
        TextColumn("{task.description:<11}", style="bold", markup=False), BarColumn(bar_width=28),
        MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", style="dim", markup=False),  # may name files
    )  # fmt: skip
    with Bars(*columns, console=console) as bars:
        yield _Bars(bars)


class _Bars:
    def __init__(self, bars: Bars) -> None:
        self.bars = bars
        self.tasks: dict[str, tuple[TaskID, int]] = {}

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        task, before = self.tasks.get(stage, (None, 0))
        # A new bar starts at its first count, so that work done by an earlier call of the command
        # does not distort the estimated speed.
        if task is None or done < before:
            task = self.bars.add_task(stage, total=total, completed=done, note=note)
        self.tasks[stage] = task, done
        self.bars.update(task, completed=done, total=total, note=note)


class _Lines:
    """Lines for log files: one every 5 % of a stage, and at most a minute apart."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.began: dict[str, tuple[float, int]] = {}
        self.done: dict[str, int] = {}
        self.shown: dict[str, tuple[float, int]] = {}

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        now, part = time.monotonic(), done * 20 // max(total, 1)
        if done < self.done.get(stage, inf):  # a new stage, possibly of the same name
            self.began[stage] = now, done
        self.done[stage] = done
        since, first = self.began[stage]
        last, before = self.shown.get(stage, (-inf, -1))
        if part == before and now - last < _MINUTE:
            return
        self.shown[stage] = (now, part)
        left = _left(now - since, done - first, total - done)
        line = ", ".join(part for part in (f"{stage}: {done}/{total}", left, note) if part)
        self.console.print(line, highlight=False, markup=False)


def _left(seconds: float, done: int, remaining: int) -> str:
    """Estimate the remaining time from the speed so far; empty if it is unknown.

    >>> _left(60.0, 2, 10), _left(0.0, 0, 10)
    ('0:05:00 left', '')
    """
    if not done or not remaining:
        return ""
    return f"{timedelta(seconds=round(seconds / done * remaining))} left"
