"""pyproject.toml, requirements.lock and environment.yml agree, and the code runs on every Python that they allow."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from isoclock.cluster import doctor

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
VERSIONS = ("3.11", "3.12", "3.13")
LIGHT = "import isoclock, isoclock.methods as m; print(' '.join(m.available()))"


def _key(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _ranges(*extras: str) -> Iterator[Requirement]:
    for line in [*PROJECT["dependencies"], *(line for extra in extras for line in EXTRAS[extra])]:
        requirement = Requirement(line)
        if requirement.name != "isoclock":
            yield requirement


@pytest.fixture(scope="module")
def pinned() -> dict[str, str]:
    lines = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
    pins = [line.split("==") for line in lines]
    return {_key(name): version for name, version in pins}


def test_the_lock_is_within_the_ranges(pinned: dict[str, str]) -> None:
    for requirement in _ranges(*EXTRAS):
        assert pinned[_key(requirement.name)] in requirement.specifier, requirement


def test_conda_has_the_pins_of_the_lock(pinned: dict[str, str]) -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (lines,) = [entry["pip"] for entry in environment if isinstance(entry, dict)]
    pins = dict(line.split("==") for line in lines if "==" in line)
    assert {"torch", "snakemake", "mlflow", "dvc"} <= set(pins)
    assert {_key(name): version for name, version in pins.items()}.items() <= pinned.items()


def _imported(folder: Path) -> dict[str, Path]:
    """Top-level modules that files below `folder` import, and one file each."""
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                found |= dict.fromkeys((alias.name.partition(".")[0] for alias in node.names), path)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found[str(node.module).partition(".")[0]] = path
    return {name: path for name, path in found.items() if name not in sys.stdlib_module_names and name != "isoclock"}


def test_what_the_package_imports_is_required() -> None:
    named = {_key(requirement.name) for requirement in _ranges("export", "pipeline", "testing")}
    providers = metadata.packages_distributions()
    for module, path in _imported(ROOT / "src").items():
        if module == "triton":  # torch requires it where it exists; elsewhere plain operators replace its kernels
            continue
        assert named & {_key(name) for name in providers[module]}, f"{path}: {module} is in no extra of pyproject.toml"


def test_the_losses_import_torch_only() -> None:
    for folder in ("methods", "kernels"):
        assert set(_imported(ROOT / "src" / "isoclock" / folder)) <= {"torch", "triton", "pytest", "hypothesis"}


def test_metadata_name_the_tested_versions() -> None:
    allowed = SpecifierSet(PROJECT["requires-python"])
    assert [version for version in (f"3.{minor}" for minor in range(9, 17)) if version in allowed] == list(VERSIONS)
    for version in VERSIONS:
        assert f"Programming Language :: Python :: {version}" in PROJECT["classifiers"]


def test_make_and_doctor_accept_the_same_versions() -> None:
    assert tuple(f"{major}.{minor}" for major, minor in doctor.PYTHONS) == VERSIONS
    (first, last) = re.findall(r"\((\d), (\d+)\)", (ROOT / "Makefile").read_text())
    assert (".".join(first), ".".join(last)) == (VERSIONS[0], VERSIONS[-1])


@pytest.mark.parametrize("version", VERSIONS)
def test_the_code_compiles_and_its_light_part_runs(version: str, tmp_path: Path) -> None:
    python = shutil.which(f"python{version}")
    environment = {"PATH": os.environ["PATH"], "PYTHONPYCACHEPREFIX": str(tmp_path), "PYTHONPATH": str(ROOT / "src")}
    if python is None or subprocess.run([python, "-c", ""], env=environment, capture_output=True).returncode:
        pytest.skip(f"no working python{version} on PATH")

    def run(*words: str) -> str:
        command = [python, "-W", "error", *words]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("-m", "compileall", "-q", str(ROOT / "src"), str(ROOT / "workflow"))
    assert {"cwd", "kd"} <= set(run("-S", "-c", LIGHT).split())
