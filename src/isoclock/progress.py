"""Terminal output: progress of long work on stderr (in a log, a line every few seconds), and tables."""

from __future__ import annotations

import os
import sys
import threading
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINE_EVERY_S = 5.0
SILENT_S = 8.0  # at most, between two lines of a log
BAR_EVERY_S = 0.5
LOG_WIDTH = 120  # characters of a table in a log, where nothing says how wide a terminal is


def table_console() -> Console:
    """Where tables are printed: as wide as the terminal, or wide enough for whole words in a log."""
    console = Console()
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(width=LOG_WIDTH)


class ProgressLine:
    """Shows the progress of a task: title, count and a few figures. A context manager.

    In a log, the first line comes within SILENT_S seconds, and the next ones by time, whether `update` is called or not.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self._bar: Progress | None = None
        self._started = self._shown = time.monotonic()
        self._first = 0
        self._now: tuple[int, int | None, str] = 0, None, ""  # done, total, figures
        self._ended = threading.Event()

    def __enter__(self) -> ProgressLine:
        if sys.stderr.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, TextColumn("{task.fields[figures]}"), console=Console(stderr=True))
            self._task = self._bar.add_task(self.title, total=None, figures="")
            self._bar.start()
        else:
            threading.Thread(target=self._print_by_time, name="progress", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._bar is not None:
            self._bar.stop()

    def start_at(self, done: int) -> None:
        """Set the count at which a resumed run continues."""
        self._first = done

    def note(self, done: int, total: int) -> None:
        """Remember the count for the next line that is printed by time. Costs next to nothing."""
        self._now = done, total, self._now[2]
        if self._bar is not None and time.monotonic() - self._shown >= BAR_EVERY_S:
            self._shown = time.monotonic()
            self._bar.update(self._task, completed=done, total=total)

    def update(self, done: int, total: int, figures: str = "") -> None:
        """Show the progress; in a log, at most every few seconds, and at the end."""
        self._now = done, total, figures
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total, figures=figures)
        elif done == total or time.monotonic() - self._shown >= LINE_EVERY_S:
            self._print()

    def _print_by_time(self) -> None:
        while not self._ended.wait(max(0.01, self._shown + SILENT_S - time.monotonic())):
            if time.monotonic() - self._shown >= SILENT_S:
                self._print()

    def _print(self) -> None:
        (done, total, figures), self._shown = self._now, time.monotonic()
        spent_s = self._shown - self._started
        if total is None:
            line = [f"{self.title}: {spent_s:.0f} s"]
        else:
            left_s = spent_s / max(1, done - self._first) * (total - done)
            line = [f"{self.title}: {done}/{total}", f"{left_s:.0f} s left" if done > self._first else ""]
        print(", ".join(filter(None, [*line, figures])), file=sys.stderr, flush=True)
