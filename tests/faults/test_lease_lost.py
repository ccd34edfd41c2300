"""Who may write a run folder when its holder is alive, frozen, dead, or on another host (fault 4)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fault_makers import KilledInCheckpoint, save_all_the_time
from trainers import Trainer, ended, stop, until

from isoclock import locks
from isoclock.errors import UserError
from isoclock.runner.lease import Lease
from tiny_study import write_plan

pytestmark = pytest.mark.xdist_group("faults")

HOLD = """
import sys
from pathlib import Path
from isoclock import locks
from isoclock.errors import UserError
from isoclock.runner.lease import Lease
locks.HEARTBEAT_S = 0.05
with Lease(Path(sys.argv[1])) as held:
    print("held", flush=True)
    for line in sys.stdin:
        try:
            held.check()
            print("mine", flush=True)
        except UserError as error:
            print(error, flush=True)
"""


@contextmanager
def holding(folder: Path, *, host: str = "") -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lease, on this host or on another: one with a name of its own."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    if host:
        if os.geteuid() != 0:
            pytest.skip("another host name needs root")
        command = ["unshare", "--uts", "sh", "-c", f'hostname {host} && exec "$@"', "sh", *command]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> str:
    """Let the holder ask whether it may still write."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("?\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reduce the time limit for updates to a second."""
    monkeypatch.setattr(locks, "SILENT_S", 1.0)
    monkeypatch.setattr(locks, "LOOK_EVERY_S", 0.01)


def test_a_frozen_process_of_this_host_keeps_its_lease(tmp_path: Path) -> None:
    with holding(tmp_path) as process:
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(UserError, match="another process is writing this run") as caught, Lease(tmp_path):
            pass
        assert f'"pid": {process.pid}' in str(caught.value)
        process.send_signal(signal.SIGCONT)
        assert said(process) == "mine"


def test_the_lease_of_a_dead_process_on_this_host_is_taken_over(tmp_path: Path) -> None:
    with holding(tmp_path) as process:
        process.kill()
        process.wait()
        with Lease(tmp_path) as held:
            assert held.taken_over == f"{tmp_path}/lease: process {process.pid} on {_host()} is dead; taken over"
            assert [path.name for path in tmp_path.iterdir()] == ["lease"]


def test_a_reused_process_id_does_not_hold_the_lease(tmp_path: Path) -> None:
    with holding(tmp_path) as process:
        (file,) = (tmp_path / "lease").iterdir()
        note = json.loads(file.read_text())
        process.kill()
        process.wait()
        file.write_text(json.dumps(note | {"pid": os.getppid()}))  # alive, and not who it was
        with Lease(tmp_path) as held:
            assert "is dead; taken over" in str(held.taken_over)


def test_a_live_holder_on_another_host_keeps_its_lease(tmp_path: Path) -> None:
    with holding(tmp_path, host="node-b") as process:
        with pytest.raises(UserError, match=r'another process is writing this run .*"host": "node-b"'), Lease(tmp_path):
            pass
        assert said(process) == "mine"
        assert [path.name for path in tmp_path.iterdir()] == ["lease"]


def test_the_lease_of_a_silent_holder_is_taken_over_and_it_stops_writing(tmp_path: Path) -> None:
    with holding(tmp_path, host="node-b") as process:
        process.send_signal(signal.SIGSTOP)  # as a host that hangs, or is cut off
        with Lease(tmp_path) as held:
            assert f"process {process.pid} on node-b was silent for" in str(held.taken_over)
            process.send_signal(signal.SIGCONT)
            assert "this process was silent for too long and another one has taken over" in said(process)
            held.check()


def test_the_lease_of_a_dead_holder_on_another_host_is_taken_over(tmp_path: Path) -> None:
    with holding(tmp_path, host="node-b") as process:
        process.kill()
        process.wait()
        with Lease(tmp_path) as held:
            assert "on node-b was silent" in str(held.taken_over)


def test_a_second_trainer_is_rejected_and_a_killed_one_is_resumed(trainer: Callable[..., Trainer], whole: str) -> None:
    run = trainer()
    run.study.edit("training.yaml", "checkpoint_every_s: 1000.0", "checkpoint_every_s: 1.0e-9")
    write_plan(run.study)
    first = run.start(save_all_the_time, KilledInCheckpoint("fsync", 1, save=2, sign=signal.SIGSTOP))
    until(lambda: ") T " in Path(f"/proc/{first.pid}/stat").read_text(), "it is frozen in a save")
    before = sorted((path.name, path.stat().st_size) for path in run.folder.iterdir())
    assert run.run() == 2
    assert f'another process is writing this run ({{"pid": {first.pid}, "host": "{_host()}"' in run.said
    assert sorted((path.name, path.stat().st_size) for path in run.folder.iterdir()) == before, "and touched nothing"
    first.kill()
    assert ended(first) == -9
    assert run.run() == 0, run.said
    assert any(
        f"process {first.pid} on {_host()} is dead; taken over" in event["message"]
        for event in run.events_of("complaint")
    )
    assert run.record["digests"]["weights"] == whole


def test_a_trainer_that_lost_its_run_saves_nothing_into_it(trainer: Callable[..., Trainer]) -> None:
    run = trainer()
    write_plan(run.study, iterations=2000)
    first = run.start()
    until(lambda: run.events_of("train"), "it trains")
    for file in (run.folder / "lease").iterdir():
        file.rename(file.with_name("another"))  # as after a take-over by another host
    assert stop(first) == 2
    assert "another one has taken over (or" in run.said
    assert "nothing more is written here" in run.said
    assert list(run.folder.glob("checkpoint-*")) == []


def _host() -> str:
    return os.uname().nodename
