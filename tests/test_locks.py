"""Locks between real processes, with and without locks of the kernel's."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

import no_kernel_locks
from isoclock import locks
from isoclock.errors import UserError
from isoclock.locks import Lock, LockHeld, lock_until_exit, why_no_kernel_locks

NONE = 0
NUMBERS = (37, 38, 95)

CONTEND = """
import sys, time
from pathlib import Path
from isoclock.locks import Lock, LockHeld
for line in sys.stdin:
    start, folder = line.split(maxsplit=1)
    lock = Lock(Path(folder.strip()), "it", "using it")
    while time.monotonic() < float(start):
        pass
    try:
        with lock:
            print("has it", flush=True)
            sys.stdin.readline()
    except LockHeld as error:
        print(error, flush=True)
        sys.stdin.readline()
"""
HOLD = "import sys\nfrom pathlib import Path\nfrom isoclock.locks import Lock\n"
HOLD += "with Lock(Path(sys.argv[1]), 'it', 'using it'):\n    print('has it', flush=True)\n    sys.stdin.read()\n"


@contextmanager
def started(program: str, *arguments: str, number: int = NONE) -> Iterator[subprocess.Popen[str]]:
    """A Python process; the kernel answers with error `number` whenever it locks a file."""
    command = [sys.executable, "-c", program, *arguments]
    if number:
        command = [sys.executable, no_kernel_locks.__file__, str(number), *command]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def killed(folder: Path, number: int = NONE) -> str:
    """Let a process take the lock, and kill it. Returns what is in its file."""
    with started(HOLD, str(folder), number=number) as process:
        assert said(process) == "has it"
    (file,) = folder.iterdir()
    return file.read_text()


@pytest.mark.parametrize(
    "number",
    [
        NONE,
        *(
            pytest.param(n, marks=pytest.mark.target("200 lease races without kernel locks: one holder each"))
            for n in NUMBERS
        ),
    ],
)
def test_one_of_several_that_start_together_has_it(
    tmp_path: Path, number: int, record_property: Callable[[str, object], None]
) -> None:
    """More than 200 races without locks of the kernel's: half of them for a free lock, half for that of a killed process."""
    note = killed(tmp_path / "killed", number)
    with ExitStack() as stack:
        contenders = [stack.enter_context(started(CONTEND, number=number)) for _ in range(3)]
        record_property("cases", 68)
        for race in range(68):
            folder = tmp_path / f"race-{race}"
            if race % 2:
                folder.mkdir()
                (folder / f"{uuid.uuid4().hex}.json").write_text(note)
            start = time.monotonic() + 0.005
            for contender in contenders:
                tell(contender, f"{start} {folder}")
            found = [said(contender) for contender in contenders]
            assert found.count("has it") == 1, found
            assert sum("it: another process is using it" in line for line in found) == 2
            for contender in contenders:
                tell(contender, "")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_no_other_module_locks_files() -> None:
    package = Path(locks.__file__).parent
    assert [path for path in package.rglob("*.py") if "fcntl" in path.read_text()] == [Path(locks.__file__)]


@pytest.mark.parametrize("number", [NONE, 37])
def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path: Path, number: int) -> None:
    note = json.loads(killed(tmp_path / "lock", number))
    began = time.monotonic()
    with Lock(tmp_path / "lock", "it", "using it") as lock:
        assert time.monotonic() - began < 2
        assert (
            lock.taken_over == f"{tmp_path}/lock: process {note['pid']} on {socket.gethostname()} is dead; taken over"
        )
        lock.check()
    assert list(tmp_path.iterdir()) == []


def test_a_late_process_does_not_remove_the_next_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes find the owner dead, and one of them acts only when the other already has the lock."""
    killed(tmp_path / "lock")
    first, second = (Lock(tmp_path / "lock", "it", "using it") for _ in range(2))
    judge = Lock._why_dead

    def late(lock: Lock, file: Path) -> str:
        why = judge(lock, file)
        if lock is second and first.taken_over is None:
            first.__enter__()
        return why

    monkeypatch.setattr(Lock, "_why_dead", late)
    with pytest.raises(LockHeld, match=f'"pid": {os.getpid()}'), second:
        pass
    first.check()
    first.__exit__(None, None, None)


def test_an_owner_of_which_only_the_file_is_seen_is_dead_if_the_file_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As if the owner was on another host. Its clock does not matter."""
    monkeypatch.setattr(locks, "SILENT_S", 0.5)
    monkeypatch.setattr(locks, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(locks, "_SAY_SO_AFTER_S", 0.1)
    note = json.loads(killed(tmp_path / "lock")) | {"host": "node-b"}
    (file,) = (tmp_path / "lock").iterdir()
    file.write_text(json.dumps(note))
    for shift_s in (-1e6, 1e6):
        os.utime(file, (time.time() + shift_s,) * 2)
        began = time.monotonic()
        with Lock(tmp_path / "lock", "it", "using it") as lock:
            assert 0.5 <= time.monotonic() - began < 5
            assert lock.taken_over is not None
            assert f"process {note['pid']} on node-b was silent for" in lock.taken_over
        assert f"process {note['pid']} on node-b has the lock; waiting up to" in capsys.readouterr().err
        (tmp_path / "lock").mkdir()
        file.write_text(json.dumps(note))


def test_an_owner_that_renews_its_file_lives_whatever_its_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "HEARTBEAT_S", 0.05)
    monkeypatch.setattr(locks, "LOOK_EVERY_S", 0.01)
    with Lock(tmp_path / "lock", "it", "using it"):
        monkeypatch.setattr(locks, "_lives", lambda note: None)  # as seen from another host
        with pytest.raises(LockHeld, match=f'"pid": {os.getpid()}'), Lock(tmp_path / "lock", "it", "using it"):
            pass


def test_one_that_lost_its_lock_is_told_so_and_leaves_the_next_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "SILENT_S", 0.1)
    monkeypatch.setattr(locks, "_lives", lambda note: None)
    first, second = (Lock(tmp_path / "lock", "it", "using it") for _ in range(2))
    with first, second:  # no renewal within 0.1 s
        with pytest.raises(UserError, match="it: this process was silent for too long and another one has taken over"):
            first.check()
        first.__exit__(None, None, None)
        second.check()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_something_else_left_in_the_folder_is_removed_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "SILENT_S", 0.1)
    (tmp_path / "lock").mkdir()
    (tmp_path / "lock" / ".DS_Store").write_bytes(b"\xff\x00")
    with Lock(tmp_path / "lock", "it", "using it") as lock:
        assert ".DS_Store was silent" in str(lock.taken_over)


@pytest.mark.parametrize("make", [Path.touch, lambda path: path.symlink_to("nowhere")])
def test_a_file_in_the_place_of_the_folder_is_one_line(tmp_path: Path, make: object) -> None:
    make(tmp_path / "lock")  # type: ignore[operator]
    with (
        pytest.raises(UserError, match=r"lock: cannot be locked \(.*\); correct that"),
        Lock(tmp_path / "lock", "it", "x"),
    ):
        pass
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_written_is_one_line() -> None:
    with pytest.raises(UserError, match="/proc/lock: cannot be locked"), Lock(Path("/proc/lock"), "it", "x"):
        pass


@pytest.mark.parametrize("number", NUMBERS)
def test_a_file_system_without_locks_is_noticed_where_they_are_needed(tmp_path: Path, number: int) -> None:
    program = "import sys\nfrom pathlib import Path\nfrom isoclock.locks import why_no_kernel_locks\n"
    program += "print(why_no_kernel_locks(Path(sys.argv[1])))\nfrom isoclock.gpus import lock_one\n"
    program += "try:\n    lock_one(['GPU-1'], 'student a/b', Path(sys.argv[1]))\nexcept Exception as error:\n    print(error)\n"
    with started(program, str(tmp_path), number=number) as process:
        assert said(process) == os.strerror(number)
        assert said(process) == (
            f"{tmp_path}/GPU-1.lock: {os.strerror(number)}; set ISOCLOCK_GPU_LOCKS to a folder of this machine that can be "
            f"written and has file locks, such as /dev/shm/gpus"
        )
    assert why_no_kernel_locks(tmp_path) is None


def test_a_lock_of_the_kernel_is_refused_to_a_second_process(tmp_path: Path) -> None:
    program = "import sys\nfrom isoclock.locks import lock_until_exit\nhandle = open(sys.argv[1], 'w')\n"
    program += "print(lock_until_exit(handle.fileno()), flush=True)\nsys.stdin.read()\n"
    with started(program, str(tmp_path / "file")) as process:
        assert said(process) == "True"
        with (tmp_path / "file").open("w") as stream:
            assert not lock_until_exit(stream.fileno())
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert lock_until_exit(stream.fileno())
