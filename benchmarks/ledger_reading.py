"""Reading a ledger of a million lines: totals, last state and 1,000 points of the curve. And a plain look at every line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from measure import PEAK_MIB, Goal, Result, in_turns, pairwise, show

POINTS, MIB_AT_MOST = 1000, 200
_LINES_ONLY = "sum(1 for line in open(sys.argv[1], 'rb'))"
_TOTALS_AND_CURVE = (
    "from isoclock.runner.ledger import events, valid_events; from isoclock.runner.totals import totals; "
    "found = list(events(Path(sys.argv[1]), every=int(sys.argv[2]))); sums, last = totals(found), found[-1]; "
    "curve = [(one['iteration'], one['loss']) for one in valid_events(found) if one['event'] == 'train']"
)
_PROGRAM = (
    "import sys, time; from pathlib import Path; started = time.perf_counter(); {work}; "
    "print(time.perf_counter() - started, {peak})"
)


def measure(rounds: int = 5, lines: int = 1_000_000) -> Result:
    """Measure in a process each, imports of isoclock included; the ledger has a checkpoint and an anchor each 200 lines."""
    peaks: list[float] = []
    with TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.jsonl"
        _write(path, lines)
        every = max(1, 20 * lines // POINTS)

        def read() -> float:
            seconds, mib = _timed(_TOTALS_AND_CURVE, str(path), str(every))
            peaks.append(mib)
            return seconds

        found = in_turns(rounds, read=read, lines=lambda: _timed(_LINES_ONLY, str(path))[0])
        line_bytes = path.stat().st_size / lines
    name = f"totals and {POINTS} points"
    return Result(
        "ledger_reading",
        "reading a long ledger in one pass",
        {name: found["read"], "counting its lines": found["lines"]},
        {
            f"peak / {MIB_AT_MOST} MiB": [mib / MIB_AT_MOST for mib in peaks],
            "read / count": pairwise(found["read"], found["lines"]),
        },
        [Goal(name, 2.0), Goal(f"peak / {MIB_AT_MOST} MiB", 1.0)],
        {"lines": lines, "bytes_per_line": line_bytes, "peak_mib": peaks},
    )


def _write(path: Path, lines: int) -> None:
    terms = {"ce": 1.2345678901, "aux": 1.3456789012, "kd": 0.4567890123}
    with path.open("w", encoding="utf-8") as stream:
        for number in range(lines):
            event = {"event": "train", "unix": 1764293000.123 + number, "iteration": 20 * (number + 1)}
            match number % 200 if number else "start":
                case "start":
                    event |= {"event": "start", "iteration": 0, "train_s": 0.0}
                case 198:
                    event |= {"event": "anchor", "anchor_s": 0.1234}
                case 199:
                    event |= {"event": "checkpoint", "io_s": 0.1234, "bytes": 123456789}
                case _:
                    event |= {"loss": 1.7728398765, "terms": terms, "lr": 0.0098765432, "train_s": number + 0.4567}
            stream.write(json.dumps(event) + "\n")


def _timed(work: str, *arguments: str) -> tuple[float, float]:
    """Seconds of some work in a process of its own, and MiB at the peak of that process."""
    command = [sys.executable, "-c", _PROGRAM.format(work=work, peak=PEAK_MIB), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, mib = map(float, done.stdout.split())
    return seconds, mib


if __name__ == "__main__":
    show([measure()])
