"""Tests that cause real faults. Fast ones run with all other tests; ISOCLOCK_SLOW=1 adds the slow ones."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from trainers import Trainer, digest_of_a_whole_run

from tiny_study import TinyStudy

sys.path.append(str(Path(__file__).parents[1] / "workflow"))  # for its copy of the project, Clone
sys.path.append(str(Path(__file__).parents[1] / "tracking"))  # for its study with run records


@pytest.fixture
def trainer(taught_study: TinyStudy) -> Iterator[Callable[..., Trainer]]:
    """Creates a trainer of a method in a separate study; all its processes end with the test."""
    made: list[Trainer] = []

    def make(method: str = "kd") -> Trainer:
        made.append(Trainer(taught_study, method))
        return made[-1]

    yield make
    for one in made:
        one.end()


@pytest.fixture(scope="session")
def whole(_taught: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Digest of the weights after six undisturbed iterations of kd."""
    folder = tmp_path_factory.mktemp("whole") / "study"
    shutil.copytree(_taught, folder)
    return digest_of_a_whole_run(TinyStudy(folder))


@pytest.fixture
def small_disk() -> Iterator[Callable[[Path, str], None]]:
    """Mounts a disk of a given size (in the format of `mount`) over a folder; called again, it changes the size."""
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs root")
    mounted: list[Path] = []

    def mount(folder: Path, size: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        again = "remount," if folder in mounted else ""
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"{again}size={size}", "tmpfs", str(folder)], check=True)
        if folder not in mounted:
            mounted.append(folder)

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
