"""The wheel, in an environment that has torch with what torch requires, and no other package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from isoclock.errors import missing_package

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "isoclock"
pytestmark = pytest.mark.xdist_group("wheel")  # one worker builds it

LOSS = """
import torch
from isoclock.methods import CWD, Batch, ChannelSpec, build_method
import isoclock, sys
from isoclock.models import SegmenterOutput
assert sys.prefix in isoclock.__file__, isoclock.__file__
spec = ChannelSpec(backbone=4, head=3)
facts = dict(student=spec, teacher=spec, num_classes=5, dataset_size=2)
batch = Batch(torch.zeros(2, 32, 32, dtype=torch.long), torch.arange(2), torch.ones(2, dtype=torch.bool))
def output(seed):
    random = torch.Generator().manual_seed(seed)
    logits, head = (torch.randn(2, size, 4, 4, generator=random) for size in (5, 3))
    return SegmenterOutput(logits.requires_grad_(), None, {"head": head})
kd = build_method("kd", **facts)
assert kd(output(0), output(0), batch)["kd"].item() < 1e-6
kd(student := output(1), output(0), batch)["kd"].backward()
assert student.logits.grad.abs().max() > 0
assert CWD(**facts, tap="head")(output(1), output(0), batch)["cwd"].item() > 0
foreign = {"numpy", "pydantic", "yaml", "mlflow", "snakemake", "dvc", "albumentations"} & set(sys.modules)
assert not foreign, foreign
"""


def _clean() -> dict[str, str]:
    """The environment without what leads Python to other packages."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}


def _required(name: str, found: dict[str, metadata.Distribution]) -> dict[str, metadata.Distribution]:
    """`name` and what it requires in turn, as far as it is installed here."""
    key = re.sub(r"[-_.]+", "-", name).lower()
    if key not in found:
        try:
            found[key] = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            return found
        requirements = [Requirement(line) for line in found[key].requires or ()]
        for requirement in requirements:
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                _required(requirement.name, found)
    return found


def _top_level(distribution: metadata.Distribution) -> Iterator[Path]:
    """Files and folders of a distribution, as they lie in site-packages."""
    names = {file.parts[0] for file in distribution.files or () if file.parts[0] not in ("..", "__pycache__")}
    for name in names:
        yield Path(str(distribution.locate_file(name)))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the sources, without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(folder)], check=True, env=_clean(), timeout=120)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel; a .pth file leads to links to torch and its requirements."""
    folder = tmp_path_factory.mktemp("environment")
    venv, links = folder / "venv", folder / "links"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True, env=_clean(), timeout=60)
    pip = [sys.executable, "-m", "pip", "--quiet", "--python", str(venv / "bin" / "python")]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", str(wheel)], check=True, env=_clean(), timeout=60)
    links.mkdir()
    for distribution in _required("torch", {}).values():
        for path in _top_level(distribution):
            if path.exists() and not (links / path.name).exists():
                (links / path.name).symlink_to(path)
    assert (links / "torch").exists()
    assert not (links / "numpy").exists()
    (packages,) = (venv / "lib").glob("python*/site-packages")
    (packages / "torch.pth").write_text(f"{links}\n")
    return venv


def _run(environment: Path, *command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    words = [str(environment / "bin" / command[0]), *command[1:]]
    return subprocess.run(words, cwd=cwd, env=_clean(), capture_output=True, text=True, timeout=120)


def test_a_loss_needs_torch_only(environment: Path, tmp_path: Path) -> None:
    done = _run(environment, "python", "-W", "ignore", "-c", LOSS, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def _names_the_extra(done: subprocess.CompletedProcess[str]) -> bool:
    """Whether the command ended with one line that says what to install."""
    advice = 'is not installed; run: pip install "isoclock[pipeline]"'
    lines = done.stderr.splitlines()
    return done.returncode == 2 and len(lines) == 1 and lines[0].startswith("isoclock: ") and lines[0].endswith(advice)


def test_help_works_or_names_the_extra(environment: Path) -> None:
    done = _run(environment, "isoclock", "--help")
    assert (done.returncode == 0 and "prepare" in done.stdout) or _names_the_extra(done), done.stderr


@pytest.mark.parametrize("options", [(), ("--log", "run.log")])
def test_a_verb_names_the_extra_that_it_needs(environment: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    for command in (("isoclock", *options, "check"), ("python", "-m", "isoclock", *options, "check")):
        done = _run(environment, *command, cwd=tmp_path)
        assert _names_the_extra(done), done.stderr


def test_a_missing_module_of_isoclock_is_no_missing_package() -> None:
    error = ModuleNotFoundError("No module named 'isoclock.nothing'", name="isoclock.nothing")
    with pytest.raises(ModuleNotFoundError):
        missing_package(error)


def test_the_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("isoclock/")}
        (entry_points,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        assert "isoclock = isoclock.__main__:main" in archive.read(entry_points).decode()
    files = {path for path in SOURCE.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert packed == {f"isoclock/{path.relative_to(SOURCE)}" for path in files}
    assert "isoclock/py.typed" in packed
    assert any(name.endswith("report.css") for name in packed)
