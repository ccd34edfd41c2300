"""What all rooms' tests share: tiny studies at three stages. Tests get copies; nothing of a session's is changed."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import isoclock
from isoclock.errors import UserError
from plugin_study import add_plugins
from tiny_study import SIZE, TinyStudy, add_avenues, write_tiny_params

pytest_plugins = ["fault_targets", "folder_times"]


LONG_GROUPS = ("workflow", "slurm", "faults")
"""Groups of tests that run one after another in one worker, for minutes. They start first, so that no worker is idle at the end."""


ON_A_DEVICE = tuple(Path(__file__).parent / name for name in ("fidelity", "methods", "scoring", "training"))
"""Folders whose tests `--device cuda` runs on a GPU."""


def pytest_addoption(parser: pytest.Parser) -> None:
    folders = ", ".join(folder.name for folder in ON_A_DEVICE)
    parser.addoption(
        "--device", choices=("cpu", "cuda"), default="cpu", help=f"cuda: run {folders} on a GPU, no others"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Choose the device, for processes that tests start too: the CPU, whatever GPU this machine has, but for `--device cuda`."""
    os.environ["ISOCLOCK_DEVICE"] = config.getoption("--device")
    distributes = config.getoption("numprocesses", None) and not hasattr(config, "workerinput")
    if config.getoption("--device") == "cuda" and not distributes:
        _use_gpu(config)


def _use_gpu(config: pytest.Config) -> None:
    """Put the tensors of tests on a GPU, with exact float32 products. Ends pytest with one line if there is none."""
    import torch

    from isoclock.methods.testing import Subject
    from isoclock.runner.device import choose_device
    from isoclock.testing_device import tests_on

    try:
        Subject.device = choose_device("tests")
    except UserError as error:
        pytest.exit(error.problems[0], returncode=2)
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    tensors = tests_on(Subject.device, *ON_A_DEVICE)
    tensors.__enter__()
    config.add_cleanup(lambda: tensors.__exit__(None, None, None))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """`make test` leaves out further entries of a method in tests that train one, and what takes minutes and is tested in parts."""
    if os.environ.get("ISOCLOCK_ALL") != "1":
        further = [item for item in items if item.get_closest_marker("test_all")]
        config.hook.pytest_deselected(items=further)
        items[:] = [item for item in items if item not in set(further)]
    if config.getoption("--device") != "cpu":
        others = [item for item in items if not any(folder in item.path.parents for folder in ON_A_DEVICE)]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in set(others)]
    items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    marker = item.get_closest_marker("xdist_group")
    group = marker.args[0] if marker is not None and marker.args else None
    return LONG_GROUPS.index(group) if group in LONG_GROUPS else len(LONG_GROUPS)


@pytest.fixture
def package_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package, to which tests add files; processes that a test starts import this one."""
    copy = tmp_path / "copy" / "isoclock"
    shutil.copytree(Path(isoclock.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setenv("PYTHONPATH", str(copy.parent))
    return copy


@pytest.fixture
def empty_study(tmp_path: Path) -> TinyStudy:
    """Tiny params/, and nothing made of them yet."""
    write_tiny_params(tmp_path / "study")
    return TinyStudy(tmp_path / "study")


@pytest.fixture
def shared_study(empty_study: TinyStudy) -> TinyStudy:
    """Tiny params/ with a second data set, `avenues`, whose teachers are those of `streets`."""
    add_avenues(empty_study.folder / "params")
    return empty_study


@pytest.fixture(scope="session")
def _prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from isoclock.data.packing.prepare import prepare
    from isoclock.data.readers.cityscapes import READER
    from isoclock.data.streets.make import make_streets

    folder = tmp_path_factory.mktemp("tiny") / "study"
    write_tiny_params(folder)
    make_streets(folder / "data" / "streets", train=5, val=2, size=SIZE)
    splits = {"train": "train", "val": "val"}
    out = TinyStudy(folder).layout.prepared("streets")
    prepare(READER, folder / "data" / "streets", out, splits=splits, dataset="streets")
    return folder


@pytest.fixture(scope="session")
def _taught(_prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from isoclock.runner.run import train_teacher

    folder = tmp_path_factory.mktemp("taught") / "study"
    shutil.copytree(_prepared, folder)
    study = TinyStudy(folder)
    assert train_teacher(study.params, "streets", "small", study.layout) == "finished"
    return folder


@pytest.fixture
def prepared_study(_prepared: Path, tmp_path: Path) -> TinyStudy:
    """Tiny params/ and prepared streets: 5 images to train on, 2 to score, 64 x 128 pixels."""
    shutil.copytree(_prepared, tmp_path / "study")
    return TinyStudy(tmp_path / "study")


@pytest.fixture
def taught_study(_taught: Path, tmp_path: Path) -> TinyStudy:
    """A prepared study with its trained teacher."""
    shutil.copytree(_taught, tmp_path / "study")
    return TinyStudy(tmp_path / "study")


@pytest.fixture
def plugin_study(prepared_study: TinyStudy, monkeypatch: pytest.MonkeyPatch) -> Iterator[TinyStudy]:
    """A prepared study with the plugins of docs/plugins.md, as working directory."""
    add_plugins(prepared_study)
    monkeypatch.chdir(prepared_study.folder)
    yield prepared_study
    for module in [name for name in sys.modules if name.startswith("isoclock.plugins.")]:
        del sys.modules[module]
