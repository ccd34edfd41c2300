"""Which GPUs a machine has, what promises one, and real locks between real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from isoclock import gpus
from isoclock.cluster.local import offered_gpus
from isoclock.errors import UserError
from isoclock.gpus import Gpu, GpuInUse, lock_one, machine_gpus, promise, visible_devices

ONE, TWO = Gpu("GPU-1f0c"), Gpu("GPU-2e5b")
DIVIDED = Gpu("GPU-3d7a", ("MIG-a1", "MIG-b2"))

LISTING = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-1f0c)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-2e5b)
GPU 2: NVIDIA A100-SXM4-40GB (UUID: GPU-3d7a)
  MIG 3g.20gb     Device  0: (UUID: MIG-a1)
  MIG 3g.20gb     Device  1: (UUID: MIG-b2)
"""

HOLD = "import sys\nfrom isoclock.gpus import lock_one\nprint(lock_one(sys.argv[1:], 'student a/b'), flush=True)\ninput()\n"


@pytest.fixture(autouse=True)
def no_promise(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of this machine or of the job around these tests."""
    for name in (gpus.VISIBLE, gpus.DEVICE, *gpus._SLURM_LISTS, *gpus._SLURM_COUNTS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(gpus.LOCKS, str(tmp_path / "locks"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


@pytest.fixture
def nvidia_smi(tmp_path: Path) -> Callable[..., None]:
    """Puts a command of that name on PATH, with an output and an exit status of its own."""

    def put(output: str, status: int = 0) -> None:
        command = tmp_path / "bin" / "nvidia-smi"
        command.parent.mkdir(exist_ok=True)
        command.write_text(f"#!{sys.executable}\nprint({output!r}, end='')\nraise SystemExit({status})\n")
        command.chmod(0o755)

    return put


@pytest.fixture
def holder() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a process that locks one of some devices and holds it."""
    started: list[subprocess.Popen[str]] = []

    def start(*devices: str, program: str = HOLD) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", program, *devices]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def locked_by(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_gpus_and_mig_devices_are_listed_and_offered(nvidia_smi: Callable[..., None]) -> None:
    nvidia_smi(LISTING)
    assert machine_gpus() == [ONE, TWO, DIVIDED]
    assert offered_gpus() == 4


def test_without_the_command_or_a_gpu_none_is_offered(
    nvidia_smi: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert machine_gpus() == []
    nvidia_smi("No devices were found\n", 6)
    monkeypatch.setattr(gpus, "_DRIVER", Path("/proc/version"))
    assert offered_gpus() == 0


def test_hidden_gpus_are_not_offered(nvidia_smi: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(LISTING)
    monkeypatch.setenv(gpus.VISIBLE, "1")
    assert offered_gpus() == 1
    monkeypatch.setenv(gpus.DEVICE, "cpu")
    assert offered_gpus() == 0


def test_a_driver_that_fails_is_one_line(
    nvidia_smi: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nvidia_smi("Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 550.1\n", 18)
    assert machine_gpus() == [], "no driver is loaded"
    monkeypatch.setattr(gpus, "_DRIVER", Path("/proc/version"))
    with pytest.raises(UserError, match=r"Driver/library version mismatch NVML library version: 550\.1; repair"):
        machine_gpus()
    with pytest.raises(SystemExit) as end:
        offered_gpus()
    assert end.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("visible", "devices"),
    [
        (None, ["GPU-1f0c", "GPU-2e5b", "MIG-a1", "MIG-b2"]),
        ("1,0", ["GPU-2e5b", "GPU-1f0c"]),
        ("0,-1,1", ["GPU-1f0c"]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("GPU-2e", ["GPU-2e5b"]),
        ("MIG-b2", ["MIG-b2"]),
        ("2", ["MIG-a1", "MIG-b2"]),
        ("GPU-3d7a, MIG-a1", ["MIG-a1", "MIG-b2"]),
    ],
)
def test_visible_devices(visible: str | None, devices: list[str]) -> None:
    environment = {} if visible is None else {gpus.VISIBLE: visible}
    assert visible_devices([ONE, TWO, DIVIDED], environment) == devices


def test_an_unknown_device_is_an_error_unless_nothing_is_listed() -> None:
    for unknown in ("7", "GPU-ff"):
        with pytest.raises(UserError, match=f"no GPU '{unknown}', but GPU-1f0c; correct it"):
            visible_devices([ONE], {gpus.VISIBLE: f"0,{unknown}"})
        assert visible_devices([], {gpus.VISIBLE: unknown}) == [unknown]


@pytest.mark.parametrize(
    ("environment", "listed", "promised"),
    [
        ({}, [], None),
        ({}, [ONE], "nvidia-smi lists GPU-1f0c"),
        ({gpus.VISIBLE: ""}, [ONE], None),
        ({gpus.VISIBLE: "-1", "SLURM_JOB_GPUS": "0"}, [ONE], None),
        ({gpus.VISIBLE: "NoDevFiles", "SLURM_JOB_GPUS": "0"}, [], "SLURM_JOB_GPUS=0"),
        ({gpus.VISIBLE: "0"}, [], "CUDA_VISIBLE_DEVICES=0"),
        ({"SLURM_STEP_GPUS": "3"}, [], "SLURM_STEP_GPUS=3"),
        ({"GPU_DEVICE_ORDINAL": "0"}, [], "GPU_DEVICE_ORDINAL=0"),
        ({"SLURM_GPUS_ON_NODE": "2"}, [], "SLURM_GPUS_ON_NODE=2"),
        ({"SLURM_GPUS_ON_NODE": "0"}, [], None),
        ({gpus.DEVICE: "cuda", gpus.VISIBLE: "-1"}, [], "ISOCLOCK_DEVICE=cuda"),
    ],
)
def test_what_promises_a_gpu(environment: dict[str, str], listed: list[Gpu], promised: str | None) -> None:
    assert promise(listed, environment) == promised


def test_a_locked_gpu_is_refused_with_its_holder_and_the_next_one_is_taken(
    holder: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    first = holder("GPU-1f0c", "GPU-2e5b")
    assert locked_by(first) == "GPU-1f0c"
    with pytest.raises(GpuInUse, match=rf"GPU-1f0c is used by process {first.pid}: student a/b; wait until it ends"):
        lock_one(["GPU-1f0c"], "teacher a/c", tmp_path / "locks")
    second = holder("GPU-1f0c", "GPU-2e5b")
    assert locked_by(second) == "GPU-2e5b"
    with pytest.raises(
        GpuInUse, match=rf"process {first.pid}: student a/b; GPU-2e5b is used by process {second.pid}: "
    ):
        lock_one(["GPU-1f0c", "GPU-2e5b"], "teacher a/c", tmp_path / "locks")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_death_ends_the_lock_though_a_child_lives_on(
    holder: Callable[..., subprocess.Popen[str]], how: signal.Signals, tmp_path: Path
) -> None:
    """A loader process is a fork of its trainer."""
    forking = HOLD.replace("input()", "import os\nif child := os.fork():\n    print(child, flush=True)\ninput()")
    first = holder("GPU-1f0c", program=forking)
    assert locked_by(first) == "GPU-1f0c"
    child = int(locked_by(first))
    first.send_signal(how)
    first.wait()
    try:
        os.kill(child, 0)  # it lives
        assert lock_one(["GPU-1f0c"], "teacher a/c", tmp_path / "locks") == "GPU-1f0c"
    finally:
        os.kill(child, signal.SIGKILL)


def test_all_users_share_the_locks_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        lock_one(["MIG-GPU-1f0c/1/0"], "student a/b", tmp_path / "locks")
    finally:
        os.umask(before)
    (file,) = (tmp_path / "locks").iterdir()
    assert file.stat().st_mode & 0o777 == 0o666
    assert file.parent.stat().st_mode & 0o1777 == 0o1777


def test_a_folder_that_cannot_be_written_is_one_line() -> None:
    with pytest.raises(UserError, match=r"/proc/locks-here.*; set ISOCLOCK_GPU_LOCKS to a folder"):
        lock_one(["0"], "student a/b", Path("/proc/locks-here"))
