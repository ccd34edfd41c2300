"""Terminal output: progress of long work on stderr (in a log, a line every few seconds), and tables."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINE_EVERY_S = 5.0
LOG_WIDTH = 120  # characters of a table in a log, where nothing says how wide a terminal is


def table_console() -> Console:
    """Where tables are printed: as wide as the terminal, or wide enough for whole words in a log."""
    console = Console()
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(width=LOG_WIDTH)


class ProgressLine:
    """Shows the progress of a task: title, count and a few figures. A context manager."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._bar: Progress | None = None
        self._started = self._shown = time.monotonic()
        self._first = 0

    def __enter__(self) -> ProgressLine:
        if sys.stderr.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, TextColumn("{task.fields[figures]}"), console=Console(stderr=True))
            self._task = self._bar.add_task(self.title, total=None, figures="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def start_at(self, done: int) -> None:
        """Set the count at which a resumed run continues."""
        self._first = done

    def update(self, done: int, total: int, figures: str = "") -> None:
        """Show the progress; in a log, at most every few seconds, and at the end."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total, figures=figures)
            return
        now = time.monotonic()
        if now - self._shown >= LINE_EVERY_S or done == total:
            self._shown = now
            left_s = (now - self._started) / max(1, done - self._first) * (total - done)
            line = ", ".join(filter(None, [f"{self.title}: {done}/{total}", f"{left_s:.0f} s left", figures]))
            print(line, file=sys.stderr, flush=True)
