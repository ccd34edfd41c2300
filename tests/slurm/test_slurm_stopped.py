"""When pytest is stopped, so is everything that it has started for a cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import command_of, marked, runs, wait
from timing import COMMAND_S

HELD_UP = Path(__file__).with_name("held_up.py")
PROGRAMS = ("slurmctld", "slurmd", "munged", "slurmstepd", "sleep 1000", "sleep 1001")


def missing(folder: Path) -> list[str]:
    """Which of the programs do not run for that cluster."""
    commands = [command_of(pid) for pid in marked(folder)]
    return [name for name in PROGRAMS if not any(name in command for command in commands)]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_nothing_is_left_when_pytest_is_stopped(number: signal.Signals, tmp_path: Path) -> None:
    running = tmp_path / "running"
    outer = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    with (tmp_path / "output").open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-n", "0", "-q", "-p", "no:cacheprovider", str(HELD_UP)],
            cwd=HELD_UP.parents[2],
            env={**outer, "ISOCLOCK_SLOW": "1", "RUNNING": str(running)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
        )
    try:
        assert wait(lambda: running.exists() or process.poll() is not None, 4 * COMMAND_S)
        assert running.exists(), (tmp_path / "output").read_text()
        folder = Path(running.read_text())
        assert wait(lambda: not missing(folder), COMMAND_S), missing(folder)
        started = marked(folder)
    finally:
        process.send_signal(number)
    assert process.wait(COMMAND_S) != 0
    assert wait(lambda: not marked(folder) and not folder.exists(), COMMAND_S)
    assert [command_of(pid) for pid in started if runs(pid)] == []
