"""The ledger: what happened in a run, one JSON object a line, only ever appended to.

It can be read without any server, and MLflow is filled from it. Reading takes one pass and constant memory. A last line that
a kill cut short is left out, and so are lines that are not events, which are reported.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from isoclock.files import regular
from isoclock.os_failures import naming

Event = dict[str, Any]

_LONGEST = 1 << 20  # bytes of a line
_TAIL = 4096  # bytes read at once from the end
# How `append` starts nearly all lines of a long ledger. Looking for it is fifty times faster than parsing JSON.
_TRAIN = b'{"event": "train", '
_ITERATION = re.compile(rb'"iteration": ([0-9]{1,18})[,}]')
_AT_ONCE = 32  # lines of which one is looked at, where it stands for the others
_NOWHERE = -2  # in no part of the training


class Ledger:
    """Append-only event log. Each event has `event`, `unix` (seconds, UTC) and `iteration`.

    Raises NotAFile if there is something else in its place.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            regular(path)
        _cut_torn_line(path)
        self._stream = path.open("a", encoding="utf-8", buffering=1)

    def append(self, event: str, iteration: int, **values: Any) -> None:
        """Write one event. The kernel has it on return; numbers that are not finite become strings."""
        line = {"event": event, "unix": round(time.time(), 3), "iteration": iteration, **values}
        with naming(self.path):
            self._stream.write(json.dumps(_finite(line), allow_nan=False) + "\n")

    def sync(self) -> None:
        """Wait until all events are on disk."""
        with naming(self.path):
            self._stream.flush()
            os.fsync(self._stream.fileno())

    def close(self) -> None:
        """Close the file. Nothing can be appended after that."""
        self._stream.close()


def read_ledger(path: Path) -> list[Event]:
    """All events of a ledger; none if there is no file. Needs ten times the size of the file; prefer `events`."""
    return list(events(path))


def events(path: Path, *, every: int = 1, problems: list[str] | None = None) -> Iterator[Event]:
    """The events of a ledger, in order; none if there is no file.

    With `every` above 1, most of the events `train` are left out unread: what comes of those in a row is the first in each
    `every` iterations, and the last. If there are lines that are not events, `problems` gets a line about them.
    """
    damaged = first = 0
    for number, line in _few(_lines(path), every) if every > 1 else enumerate(_lines(path), start=1):
        if event := event_of(line):
            yield event
        elif line.strip():
            damaged, first = damaged + 1, first or number
    if damaged and problems is not None:
        lines = (
            f"line {first} is not an event" if damaged == 1 else f"{damaged} lines are not events, first line {first}"
        )
        problems.append(f"{path}: {lines}; left out")


def newest_first(path: Path) -> Iterator[Event]:
    """The events of a ledger, the last one first; none if there is no file.

    It reads blocks from the end, so that a caller that needs a few events reads a few KiB of a ledger of any length.
    """
    with regular(path).open("rb") if path.exists() else io.BytesIO() as stream:
        at, rest = stream.seek(0, os.SEEK_END), b""
        torn = True  # what follows the last line feed: nothing, or a line that is being written
        while at:
            start = max(0, at - _TAIL)
            stream.seek(start)
            lines = (stream.read(at - start) + rest).split(b"\n")
            rest, at = lines[0] if start else b"", start
            for line in reversed(lines[bool(start) : len(lines) - torn]):
                if event := event_of(line):
                    yield event
            torn = torn and len(lines) == 1


def valid_events(events: Iterable[Event]) -> list[Event]:
    """Events without those that a kill made void: a later segment repeated what came after the iteration it resumed at."""
    kept: list[Event] = []
    for event in events:
        if event["event"] == "start":
            kept = [earlier for earlier in kept if earlier["iteration"] <= event["iteration"]]
        kept.append(event)
    return kept


def _is_number(value: Any, limit: float = 2**63) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < limit


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and _is_number(value)


_VALID: dict[str, Callable[[Any], bool]] = {
    "event": lambda value: isinstance(value, str),
    "unix": partial(_is_number, limit=1e11),  # before the year 5138
    "iteration": _is_count,
    "train_s": _is_number,
    "io_s": _is_number,
    "bytes": _is_count,
    "terms": lambda value: isinstance(value, dict),
}


def event_of(line: bytes) -> Event | None:
    """The event in a line, with values that a reader can calculate with; None if it is something else."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or not {"event", "unix", "iteration"} <= event.keys():
        return None
    return event if all(_VALID[key](event[key]) for key in _VALID.keys() & event.keys()) else None


def _lines(path: Path) -> Iterator[bytes]:
    """Complete lines. One that is too long for an event is cut."""
    if not path.is_file():
        return
    with path.open("rb", buffering=_LONGEST) as stream:
        read = partial(stream.readline, _LONGEST)
        for line in iter(read, b""):
            end = line
            while end and not end.endswith(b"\n"):
                end = read()
            if end:
                yield line


def _few(lines: Iterable[bytes], every: int) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers. Of lines `train` in a row, the first in each `every` iterations, and the last."""
    row: list[tuple[int, bytes]] = []
    last: tuple[int, bytes] | None = None
    shown, place = last, _NOWHERE
    for line in enumerate(chain(lines, [b""]), start=1):
        is_train = line[1].startswith(_TRAIN)
        if is_train:
            row.append(line)
            if len(row) < _AT_ONCE:
                continue
        if row and (place == _NOWHERE or _place(row[-1][1], every) != place):
            for one in row:
                if (at := _place(one[1], every)) != place:
                    shown, place = one, at
                    yield one
        last = row[-1] if row else last
        row = []
        if not is_train:
            if last is not None and last is not shown:
                yield last
            if line[1]:  # not the end
                yield line
            last = shown = None
            place = _NOWHERE


def _place(line: bytes, every: int) -> int:
    """The number of the part of the training that a line is of; -1 where it does not say."""
    found = _ITERATION.search(line)
    return int(found[1]) // every if found else -1


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value


def _cut_torn_line(path: Path) -> None:
    """A kill may leave half a line; without its newline, the next event would be glued to it."""
    if not path.is_file():
        return
    with path.open("rb+") as stream:
        size = start = stream.seek(0, os.SEEK_END)
        found = -1
        while start and found < 0:
            block = min(start, _LONGEST)
            start = stream.seek(start - block)
            found = stream.read(block).rfind(b"\n")
        if start + found + 1 < size:
            stream.truncate(start + found + 1)
