from __future__ import annotations

import errno
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import isoclock
from isoclock.cluster import doctor
from isoclock.cluster.doctor import examine, file_system, mlflow_store, packages, report, writable
from isoclock.cluster.doctor_slurm import account, device_kinds, init_seconds, preemption
from isoclock.cluster.finding import Finding
from isoclock.cluster.site import Site
from isoclock.cluster.slurm import Partition

PROFILE = Path(__file__).resolve().parents[2] / "workflow/profiles/slurm/profile.yaml"


@pytest.fixture(autouse=True)
def no_slurm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide any SLURM of this machine, and use a separate MLflow store."""
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent)]))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")


def test_without_a_cluster_the_other_checks_run(tmp_path: Path) -> None:
    found = {finding.what: finding for finding in examine(tmp_path)}
    assert found["SLURM"].found == "no SLURM here"
    assert found["Python"].state == "ok"
    assert found["packages"].state == "none", "there is no lock in this folder"
    assert found["device"].found.startswith(("cpu:", "cuda:"))
    assert found["MLflow"].state == "ok"
    assert not list(tmp_path.iterdir()), "checks change nothing"


def test_without_any_package_it_lists_those_that_are_missing(tmp_path: Path) -> None:
    """As `PYTHONPATH=src python3 -m isoclock doctor` does before anything is installed: -S leaves site-packages out."""
    source = Path(isoclock.__file__).parents[1]
    command = [sys.executable, "-S", "-m", "isoclock", "doctor"]
    environment = {"PYTHONPATH": str(source), "PATH": "", "COLUMNS": "80"}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (2, "")
    said = " ".join(ended.stdout.split())
    assert said.count("torch") >= 2, "the package, and what was not checked without it"
    assert all(name in said for name in doctor.needed_packages())
    assert "device not checked, because torch is missing" in said
    assert "runs/ writable" in said
    assert max(map(len, ended.stdout.splitlines())) <= 80


def test_the_needed_packages_are_those_of_pyproject() -> None:
    assert {"torch", "pydantic", "pyyaml", "snakemake", "mlflow"} <= set(doctor.needed_packages())
    assert not list(doctor.missing_packages(Path("requirements.lock"))), "all are installed here"


@pytest.mark.parametrize(
    ("gpu_model", "nodes", "state", "said"),
    [
        (
            None,
            "3 gpu:a100:4(S:0-1)\n2 gpu:v100:2",
            "warn",
            "12 a100, 4 v100; set `gpu_model: a100` or `gpu_model: v100`:",
        ),
        ("a100", "3 gpu:a100:4(S:0-1)\n2 gpu:v100:2", "ok", "12 a100, 4 v100; `gpu_model: a100` or"),
        ("h100", "3 gpu:a100:4", "wrong", "12 a100; gpu_model: h100; set `gpu_model: a100`"),
        (None, "3 gpu:a100:4,gpu:a100:1", "ok", "15 a100; `gpu_model: a100` selects a kind"),
        (None, "1 gpu:2", "ok", "2 without a type; "),
        ("a100", "1 gpu:2", "wrong", "set `gpu_model: null`"),
        (None, "4 (null)", "warn", "no GPUs; choose a partition with GPUs"),
    ],
)
def test_device_kinds_with_the_line_that_selects_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpu_model: str | None, nodes: str, state: str, said: str
) -> None:
    program = tmp_path / "sinfo"
    program.write_text(f"#!/bin/sh\nprintf '%s\\n' '{nodes}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    site = Site(partition="gpu", account=None, gpu_model=gpu_model)
    object.__setattr__(site, "found", partition("OFF"))
    (found,) = device_kinds(site)
    assert found.state == state
    assert said in f"{found.found}; {found.advice.removeprefix('workflow/profiles/slurm/site.yaml: ')}"


def test_packages_are_compared_with_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text(f"# pins\nnumpy=={version('numpy')}\ntorch=={version('torch').partition('+')[0]}\n")
    assert packages(lock).state == "ok"
    lock.write_text(lock.read_text() + "pip==0.1\nno-such-package==1.0\n")
    found = packages(lock)
    assert found.state == "warn"
    assert "no-such-package missing (pinned 1.0)" in found.found
    assert f"pip {version('pip')} (pinned 0.1)" in found.found
    assert found.advice.startswith("pip install -r ")


def test_another_python_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PYTHONS", ((3, 9), (3, 10)))
    assert doctor.python().state == "wrong"
    assert "Python 3.9 or 3.10" in doctor.python().advice


@pytest.mark.parametrize("uri", ["file:///tmp/mlruns", "http://127.0.0.1:1"])
def test_an_unusable_store_is_reported(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    found = mlflow_store()
    assert found.state == "wrong"
    assert found.advice


def test_for_a_missing_folder_its_parent_is_checked(tmp_path: Path) -> None:
    found = writable(tmp_path / "runs")
    assert found.state in ("ok", "warn"), found
    assert file_system(tmp_path) in found.found
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_cannot_be_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system that cannot rename folders."""

    def refused(self: Path, target: Path) -> Path:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(Path, "rename", refused)
    found = writable(tmp_path)
    assert found.state == "wrong"
    assert "cannot be locked" in found.found
    assert "on which folders can be written and renamed" in found.advice
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written() -> None:
    found = writable(Path("/proc/runs"))
    assert found.state == "wrong"
    assert "/proc" in found.found


def test_little_disk_space_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "MIN_FREE_GB", 1e9)
    assert writable(tmp_path).state == "warn"


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc/mounts")
def test_file_systems_by_name() -> None:
    assert file_system(Path("/proc/self")) == "proc"


def partition(mode: str, grace_s: int = 0) -> Partition:
    return Partition("gpu", True, 1440, mode, grace_s)


@pytest.mark.parametrize(
    ("found", "state", "advice"),
    [
        (partition("OFF"), "ok", ""),
        (partition("GANG,OFF"), "ok", ""),
        (partition("REQUEUE", 60), "ok", "spare_retries: 2"),
        (partition("CANCEL", 5), "wrong", "forever"),
        (partition("CANCEL", 120), "warn", "forever"),
        (partition("GANG,SUSPEND"), "warn", "off-budget"),
    ],
)
def test_preemption_modes(found: Partition, state: str, advice: str) -> None:
    finding = preemption(found, "preempt/partition_prio", 2)
    assert finding.state == state
    assert advice in finding.advice


def test_without_preemption_the_mode_does_not_matter() -> None:
    assert preemption(partition("CANCEL"), "preempt/none", 2).state == "ok"


@pytest.mark.parametrize(
    ("named", "stored", "enforced", "state"),
    [
        ("lab", "none", "none", "wrong"),
        ("lab", "slurmdbd", "associations", "ok"),
        (None, "slurmdbd", "associations,limits", "warn"),
        (None, "none", "none", "ok"),
    ],
)
def test_accounts_need_a_database(named: str | None, stored: str, enforced: str, state: str) -> None:
    settings = {"AccountingStorageType": f"accounting_storage/{stored}", "AccountingStorageEnforce": enforced}
    assert account(Site(partition="gpu", account=named), settings).state == state


def test_the_profile_keeps_the_executors_default_interval(tmp_path: Path) -> None:
    assert init_seconds(PROFILE) == init_seconds(tmp_path / "none.yaml") == 40
    (tmp_path / "profile.yaml").write_text("slurm-init-seconds-before-status-checks: 10\n")
    assert init_seconds(tmp_path / "profile.yaml") == 10


def test_the_report_has_advice_and_a_status(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fine = [Finding("one", "ok", "here [it] is"), Finding("two", "warn", "slow", "make it quick")]
    assert report(fine) == 0
    output = capsys.readouterr().out
    assert "here [it] is" in output
    assert "two: make it quick" in output
    assert report([*fine, Finding("three", "wrong", "gone", "bring it back")]) == 2
    assert "bring it back" in capsys.readouterr().out
