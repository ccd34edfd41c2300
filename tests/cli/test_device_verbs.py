"""Every verb that uses a device refuses to fall back to the CPU where a GPU is promised."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from isoclock import gpus
from isoclock.cli.main import main
from isoclock.cluster import doctor
from isoclock.modules import modules_of
from isoclock.runner import device
from tiny_study import TinyStudy

CELL = "streets/tiny/kd/iteration-6/0"
ARGUMENTS = {
    "teacher": ["streets", "small"],
    "profile": ["streets", "tiny", "kd"],
    "student": [CELL],
    "evaluate": ["streets/small"],
    "predict": ["streets/small", "photo.png"],
}
VERBS = modules_of("cli", without=("main", "shared"))
DEVICE_VERBS = [name for name, verb in VERBS.items() if "choose_device" in inspect.getsource(verb)]
PROMISES = {"SLURM_JOB_GPUS": "0", "SLURM_GPUS_ON_NODE": "1", gpus.VISIBLE: "GPU-absent", gpus.DEVICE: "cuda"}


@pytest.fixture(autouse=True)
def undecided(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A process that has no device yet, and no GPU by nvidia-smi or by the environment."""
    monkeypatch.setattr(device, "_chosen", None)
    for name in (gpus.VISIBLE, gpus.DEVICE, *gpus._SLURM_LISTS, *gpus._SLURM_COUNTS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(gpus.LOCKS, str(tmp_path / "locks"))
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))


@pytest.fixture
def promised(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A GPU is promised by one variable. CUDA finds none by its name, whatever this machine has."""
    name = getattr(request, "param", "SLURM_JOB_GPUS")
    monkeypatch.setenv(gpus.VISIBLE, "NoDevFiles")
    monkeypatch.setenv(name, PROMISES[name])
    return f"{name}={PROMISES[name]}"


@pytest.mark.parametrize("verb", DEVICE_VERBS)
def test_a_promised_gpu_that_cannot_be_opened_is_status_2(
    verb: str,
    promised: str,
    taught_study: TinyStudy,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(taught_study.folder)
    taught_study.layout.teacher_files("streets", "small").validation.unlink()  # else `evaluate` needs no device
    assert main([verb, *ARGUMENTS[verb]]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"isoclock: {promised}, but it cannot be used: ")
    assert line.endswith("; to use the CPU, set ISOCLOCK_DEVICE=cpu")


def test_the_verbs_that_use_a_device() -> None:
    assert set(DEVICE_VERBS) == {"teacher", "profile", "student", "evaluate", "predict"}


@pytest.mark.parametrize("promised", PROMISES, indirect=True)
def test_doctor_says_so(promised: str) -> None:
    found = doctor.device()
    assert found.state == "wrong"
    assert found.found.startswith(f"{promised}, but it cannot be used: ")
    assert "ISOCLOCK_DEVICE=cpu" in found.advice


def test_doctor_names_the_user_of_the_only_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gpus.VISIBLE, "GPU-absent")
    hold = "from isoclock.gpus import lock_one; print(lock_one(['GPU-absent'], 'student a/b'), flush=True); input()"
    command = [sys.executable, "-c", hold]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "GPU-absent\n"
        found = doctor.device()
        holder.kill()
    assert found.state == "warn"
    assert f"process {holder.pid}: student a/b" in found.found


def test_the_cpu_can_be_chosen_whatever_is_promised(promised: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gpus.DEVICE, "cpu")
    assert device.choose_device().type == "cpu"


def test_a_wrong_choice_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], prepared_study: TinyStudy
) -> None:
    monkeypatch.chdir(prepared_study.folder)
    monkeypatch.setenv(gpus.DEVICE, "gpu")
    assert main(["teacher", "streets", "small"]) == 2
    assert capsys.readouterr().err == "isoclock: ISOCLOCK_DEVICE=gpu: must be cpu or cuda\n"
