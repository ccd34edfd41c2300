"""JSON lines of the parts, written one by one, and the document that they make together."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SCHEMA = 1


class Rows:
    """A file of JSON lines; every line is on disk when `put` returns."""

    def __init__(self, path: Path, *, new: bool = False) -> None:
        """Append to `path`, or replace it if `new`."""
        self.path = path
        if new:
            path.write_text("")

    def put(self, **values: Any) -> None:
        """Write one row, and print it."""
        line = json.dumps(values)
        with self.path.open("a") as stream:
            stream.write(line + "\n")
        print(line[:300], flush=True)

    def read(self) -> list[dict[str, Any]]:
        """The rows that there are; a line cut short at a time limit is left out."""
        rows = []
        for line in self.path.read_text().splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return rows


def in_one_line(error: Exception) -> str:
    """Type and message of an exception, for a row that has no figures."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


class Limit:
    """The seconds that a part may use; a row is started only while some are left."""

    def __init__(self, seconds: float) -> None:
        self._end_s = time.monotonic() + seconds

    @property
    def left_s(self) -> float:
        """Seconds that are left."""
        return max(0.0, self._end_s - time.monotonic())

    @property
    def is_over(self) -> bool:
        """Whether no further row may be started."""
        return time.monotonic() >= self._end_s


def part_arguments(about: str | None) -> argparse.ArgumentParser:
    """The arguments that `run.py` gives to every part."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--out", type=Path, required=True, help="file of JSON lines")
    parser.add_argument("--seconds", type=float, default=60.0, help="no row is started after that")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small networks and few samples")
    return parser


def collect(folder: Path, parts: Sequence[str]) -> dict[str, Any]:
    """Write `gpu.json` from the rows that there are, and return it."""
    found = {part: Rows(folder / f"{part}.jsonl").read() for part in parts if (folder / f"{part}.jsonl").is_file()}
    document = {"schema": SCHEMA, "parts": found}
    (folder / "gpu.json").write_text(json.dumps(document, indent=1) + "\n")
    return document
