"""The ledger: what happened in a run, one JSON object a line, only ever appended to.

It can be read without any server, and MLflow is filled from it. A line cut short by a kill is left out by readers.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from isoclock.files import read_lines, regular
from isoclock.os_failures import naming

Event = dict[str, Any]


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
    """All complete events of a ledger; none if there is no file."""
    return read_lines(path, json.loads)


def valid_events(events: Iterable[Event]) -> list[Event]:
    """Events without those that a kill made void: a later segment repeated what came after the iteration it resumed at."""
    kept: list[Event] = []
    for event in events:
        if event["event"] == "start":
            kept = [earlier for earlier in kept if earlier["iteration"] <= event["iteration"]]
        kept.append(event)
    return kept


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
    if path.is_file() and path.stat().st_size:
        with path.open("rb+") as stream:
            content = stream.read()
            if not content.endswith(b"\n"):
                stream.truncate(content.rfind(b"\n") + 1)
