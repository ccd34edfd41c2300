"""No method imports another one: each can be deleted, and the others still build."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import isoclock
from isoclock.methods import available

PACKAGE = Path(isoclock.__file__).parent
METHODS = PACKAGE / "methods"
BORROWERS = {"rkd": ("cc", "crd"), "dkd": ("nkd",), "mgd": ("afdcd",), "cwd": ("mgd",), "fitnet": ("pkd", "raw")}
BUILD = """
from isoclock.methods import ChannelSpec, available, build_method, card
assert {deleted!r} not in available()
for name in {names!r}:
    spec = ChannelSpec(backbone=32, head=16)
    for each in card(name).implementations:
        build_method(name, student=spec, teacher=spec, num_classes=3, dataset_size=4, implementation=each)
"""


def sources(name: str) -> list[Path]:
    folder = METHODS / name
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [METHODS / f"{name}.py"]


def methods_imported_by(path: Path) -> set[str]:
    """Names under `isoclock.methods` that a file imports anywhere."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        found |= {module.split(".")[2] for module in modules if module.startswith("isoclock.methods.")}
    return found


@pytest.mark.parametrize("name", available())
def test_a_method_imports_no_other_method(name: str) -> None:
    for path in sources(name):
        assert not methods_imported_by(path) & (set(available()) - {name}), path


def test_kernels_import_no_method() -> None:
    for path in sorted((PACKAGE / "kernels").glob("*.py")):
        assert not methods_imported_by(path), path


def test_an_import_of_another_method_would_be_found(tmp_path: Path) -> None:
    path = tmp_path / "method.py"
    path.write_text(
        "from isoclock.methods import kd\nimport isoclock.methods.cwd\nfrom isoclock.methods.rkd import RKD\n"
    )
    assert methods_imported_by(path) == {"kd", "cwd", "rkd"}


@pytest.mark.parametrize("deleted", BORROWERS)
def test_a_method_can_be_deleted(deleted: str, tmp_path: Path) -> None:
    copied = tmp_path / "isoclock"
    shutil.copytree(PACKAGE, copied, ignore=shutil.ignore_patterns("__pycache__"))
    for path in sources(deleted):
        (copied / path.relative_to(PACKAGE)).unlink()
    code = BUILD.format(deleted=deleted, names=BORROWERS[deleted])
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
