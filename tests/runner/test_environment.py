"""Versions of CUDA, cuDNN and the driver: recorded for a GPU, and compared between the segments of a run."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from isoclock.errors import UserError
from isoclock.runner import environment as versions
from isoclock.runner.environment import cuda_versions, driver, environment
from isoclock.runner.run import _other_hardware

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
SEGMENT = {"device_kind": "cuda:H100", "threads": 1, "torch": "2.14.1", "cuda": "13.0", "cudnn": "91400"}
FOLDER = Path("runs/student/cell")
DRIVERS = {
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  Thu Jan  9 05:28:36 UTC 2025\nGCC version: 13.3.0\n": "570.86.15",
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (dvs)\n": "580.65.06",
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104  Sat Aug 19\n": "535.104",
    "no version here, of x86_64 and 12.4\n": None,
}


@pytest.mark.parametrize(("text", "expected"), DRIVERS.items())
def test_the_driver_has_a_version(
    text: str, expected: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "DRIVER", tmp_path / "version")
    assert driver() is None, "no file: no driver"
    (tmp_path / "version").write_text(text)
    assert driver() == expected
    assert environment(GPU).get("driver") == expected
    assert "driver" not in environment(CPU)


def test_versions_are_of_what_the_device_uses() -> None:
    assert cuda_versions(CPU) == {"cuda": None, "cudnn": None}
    assert cuda_versions(GPU)["cuda"] == torch.version.cuda
    assert not {"cuda", "cudnn"} & set(environment(CPU))
    assert environment(GPU).get("cuda") == torch.version.cuda


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"cuda": "12.8"}, "started with CUDA 13.0 but this is 12.8"),
        ({"cudnn": "90800"}, "started with cuDNN 91400 but this is 90800"),
    ],
)
def test_another_cuda_or_cudnn_is_a_complaint_once(changes: dict[str, Any], complaint: str) -> None:
    assert _other_hardware(FOLDER, [SEGMENT, SEGMENT], SEGMENT) == []
    (found,) = _other_hardware(FOLDER, [SEGMENT, SEGMENT], SEGMENT | changes)
    assert found.startswith(f"{FOLDER}: {complaint}; the cell is marked mixed-hardware")
    assert found.endswith("remove this folder to start again with one version")


@pytest.mark.parametrize("changes", [{"torch": "9.9.9"}, {"threads": 2}, {"device_kind": "cuda:A100"}])
def test_other_hardware_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="excluded from matched tables"):
        _other_hardware(FOLDER, [SEGMENT], SEGMENT | changes)


def test_the_commit_is_that_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "commit" not in environment(CPU), "no repository"
    git = ["git", "-c", "user.name=Ann", "-c", "user.email=ann@example.org"]
    for words in (["init", "--quiet"], ["commit", "--quiet", "--allow-empty", "--message", "one"]):
        subprocess.run([*git, *words], check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    (tmp_path / "file").touch()
    assert environment(CPU)["commit"] == head, "files that are not tracked do not count"
    subprocess.run(["git", "add", "file"], check=True)
    assert environment(CPU)["commit"] == f"{head}-dirty"
    monkeypatch.setenv("PATH", "")
    assert "commit" not in environment(CPU), "no Git"
