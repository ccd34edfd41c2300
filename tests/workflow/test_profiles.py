"""A fresh clone: the profiles resolve, every grid gives a DAG, mistakes are output in one line before a job starts."""

from __future__ import annotations

import os
import re

import pytest
import yaml
from clone import ROOT, Clone

from tiny_study import edit


@pytest.mark.parametrize("profile", ["slurm", "workflow/profiles/local"])
def test_profile_resolves(fresh: Clone, profile: str) -> None:
    output = fresh.run("snakemake", "--profile", profile, "--dry-run", "all")
    assert re.search(r"^student +3$", output, re.MULTILINE)


@pytest.mark.parametrize(
    "profile",
    [
        "../study/slurm",
        pytest.param("{study}/workflow/profiles/slurm", marks=pytest.mark.test_all),
        pytest.param("../study/slurm/profile.yaml", marks=pytest.mark.test_all),
    ],
)
def test_the_slurm_profile_is_filled_in_wherever_snakemake_starts(fresh: Clone, profile: str) -> None:
    elsewhere = fresh.folder.parent / "elsewhere"
    elsewhere.mkdir()
    named = profile.format(study=fresh.folder)
    start = f"cd {elsewhere} && snakemake -s {fresh.folder}/Snakefile --directory {fresh.folder} --profile {named}"
    assert re.search(r"^student +3$", fresh.run("sh", "-c", f"{start} --dry-run all"), re.MULTILINE)
    output = fresh.run("sh", "-c", f"{start} all", status=2)
    site = fresh.folder / "workflow/profiles/slurm/site.yaml"
    assert f"isoclock: {site}: partition, account: still FILL-IN" in output


def test_the_local_profile_offers_the_gpus_of_the_machine(fresh: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    command = fresh.folder / "bin" / "nvidia-smi"
    command.parent.mkdir()
    command.write_text('#!/bin/sh\nfor n in 0 1; do echo "GPU $n: NVIDIA H100 (UUID: GPU-$n)"; done\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(command.parent), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    start = [
        "snakemake",
        "--profile",
        "workflow/profiles/local",
        "--dry-run",
        "--verbose",
        "--printshellcmds",
        "teachers",
    ]
    output = fresh.run("env", "-u", "ISOCLOCK_DEVICE", *start)
    assert "gpu=1" in output
    assert "ISOCLOCK_DEVICE=${ISOCLOCK_DEVICE:-cuda} isoclock --log" in output
    assert "gpu" not in fresh.run(*start).replace(str(fresh.folder), ""), "ISOCLOCK_DEVICE=cpu: no job needs one"


def test_no_target_means_all(fresh: Clone) -> None:
    assert re.search(r"^report +1$", fresh.snakemake("--dry-run"), re.MULTILINE)


def test_one_method_can_be_asked_for(fresh: Clone) -> None:
    output = fresh.snakemake("--dry-run", "--config", "method=kd", "--", "students")
    assert re.search(r"^student +1$", output, re.MULTILINE)


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("methods.yaml", "method: kd", "method: kdd", "methods.yaml: kd.method: unknown method 'kdd'"),
        ("training.yaml", "crop: [32, 64]", "crop: [32]", "crop"),
        ("budgets.yaml", "yardstick: kd", "yardstick: kd\n    anchor_steps: 3", "two ways to give one budget"),
    ],
)
def test_a_mistake_in_params_is_one_line_and_no_job(fresh: Clone, file: str, old: str, new: str, said: str) -> None:
    edit(fresh.folder / "params" / file, old, new)
    output = fresh.snakemake("all", status=2)
    lines = [line for line in output.splitlines() if line.startswith("isoclock: ")]
    assert any(said in line for line in lines), output
    assert "Traceback" not in output
    assert not (fresh.folder / "results").exists()


def test_an_unknown_grid_is_one_line(fresh: Clone) -> None:
    assert "isoclock: params/grids: unknown grid 'nope'" in fresh.snakemake(
        "--dry-run", "--config", "grid=nope", "--", "all", status=2
    )


def test_environment_has_the_pins_of_the_lock() -> None:
    lock = dict(line.split("==") for line in (ROOT / "requirements.lock").read_text().splitlines() if "==" in line)
    pinned = {_normal(name): version for name, version in lock.items()}
    (pip,) = [
        d["pip"] for d in yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"] if isinstance(d, dict)
    ]
    named = dict(entry.split("==") for entry in pip if "==" in entry)
    assert {_normal(name): version for name, version in named.items()}.items() <= pinned.items()
    wanted = "torch torchvision snakemake snakemake-executor-plugin-slurm mlflow dvc segmentation-models-pytorch albumentations"
    assert set(wanted.split()) <= set(named)
    assert "-r requirements.lock" in pip


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
