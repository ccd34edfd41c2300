from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from isoclock.errors import UserError
from isoclock.runner.lease import Lease

HOLD = """
import sys
from pathlib import Path
from isoclock.runner.lease import Lease
with Lease(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
HOLD_AND_FORK = """
import os, sys
from pathlib import Path
from isoclock.runner.lease import Lease
with Lease(Path(sys.argv[1])):
    child = os.fork()
    if child == 0:
        sys.stdin.read()
        os._exit(0)
    print(child, flush=True)
    os.waitpid(child, 0)
"""


@contextmanager
def holding(folder: Path, program: str = HOLD) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.kill()
        process.wait()
        process.stdout.close()


def holder(folder: Path) -> int:
    (file,) = (folder / "lease").iterdir()
    return int(json.loads(file.read_text())["pid"])


def test_a_second_process_is_refused_with_who_has_it(tmp_path: Path) -> None:
    with holding(tmp_path / "run") as (process, _):
        with pytest.raises(UserError, match="another process is writing this run") as caught, Lease(tmp_path / "run"):
            pass
        assert f'"pid": {process.pid}' in str(caught.value)
        assert len(caught.value.problems) == 1


def test_being_refused_leaves_the_lease_as_it_was(tmp_path: Path) -> None:
    with holding(tmp_path) as (process, _):
        with pytest.raises(UserError), Lease(tmp_path):
            pass
        assert holder(tmp_path) == process.pid
        assert [path.name for path in tmp_path.iterdir()] == ["lease"]


def test_the_lease_ends_with_a_killed_process(tmp_path: Path) -> None:
    with holding(tmp_path) as (process, _):
        process.send_signal(signal.SIGKILL)
        process.wait()
        with Lease(tmp_path):
            assert holder(tmp_path) == os.getpid()


def test_a_loader_process_that_outlives_a_kill_does_not_hold_it(tmp_path: Path) -> None:
    with holding(tmp_path, HOLD_AND_FORK) as (process, child):
        process.send_signal(signal.SIGKILL)
        process.wait()
        os.kill(int(child), 0)  # it lives
        with Lease(tmp_path):
            pass


def test_the_lease_ends_with_the_block_even_if_it_raises(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), Lease(tmp_path):
        raise RuntimeError
    with holding(tmp_path) as (_, said):
        assert said == "held"


def test_other_runs_are_free(tmp_path: Path) -> None:
    with holding(tmp_path / "one"), Lease(tmp_path / "two"):
        pass
