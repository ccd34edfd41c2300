"""Training on images without labels, through the verbs: hidden labels leave no trace in the weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from isoclock.cli.main import main
from isoclock.data.packing.packed import PackedSplit
from isoclock.files import read_json
from tiny_study import TinyStudy, cell

pytestmark = pytest.mark.filterwarnings("ignore:.*random weights")
CELL = cell("kd")


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit-exactness is promised there."""
    monkeypatch.setattr("isoclock.runner.device._chosen", torch.device("cpu"))


@pytest.fixture
def study(prepared_study: TinyStudy) -> TinyStudy:
    """Three of five images have labels; a batch is one of those and two of the others."""
    prepared_study.edit("datasets.yaml", "  val: val\n", "  val: val\n  labelled_images: 3\n")
    prepared_study.edit("training.yaml", "batch: 2", "batch: 3")
    prepared_study.edit("training.yaml", "  student:\n", "  student:\n    unlabelled_per_batch: 2\n")
    shutil.rmtree(prepared_study.layout.results)
    return prepared_study


def trained(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Prepare, teach, profile, plan and train there; digests of the teacher's and the student's weights."""
    monkeypatch.chdir(folder)
    where = ("streets", "tiny")
    for verb in (
        ("prepare", "streets"),
        ("teacher", "streets", "small"),
        ("profile", *where, "kd"),
        ("plan", *where, CELL.budget),
        ("plan", *where, CELL.budget, "kd"),
        ("student", CELL.path),
    ):
        assert main(verb) == 0
    layout = TinyStudy(folder).layout
    teacher = read_json(layout.teacher("streets", "small") / "record.json", "teacher")
    student = read_json(layout.student(CELL) / "record.json", "student")
    return teacher["digests"]["weights"], student["digests"]["weights"]


def labels(study: Path, kind: str) -> list[Path]:
    """Raw label files of the samples that are packed as `kind`, train or unlabelled."""
    names = PackedSplit(study / "results/data/streets", kind).names
    return [next((study / "data/streets/gtFine/train").glob(f"*/{name}_gtFine_labelIds.png")) for name in names]


def test_hidden_labels_leave_no_trace(study: TinyStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = TinyStudy(tmp_path / "raw")
    shutil.copytree(study.folder, raw.folder)
    weights = trained(study.folder, monkeypatch)
    hidden, (seen, other, _) = labels(study.folder, "unlabelled"), labels(study.folder, "train")
    assert len(hidden) == 2

    for path in hidden:
        (raw.folder / path.relative_to(study.folder)).write_bytes(b"no image at all")
    shutil.copytree(raw.folder, tmp_path / "corrupt")
    assert trained(tmp_path / "corrupt", monkeypatch) == weights

    # What is compared can differ: one label that is seen is another's.
    shutil.copytree(raw.folder, tmp_path / "changed")
    shutil.copyfile(other, tmp_path / "changed" / seen.relative_to(study.folder))
    changed = trained(tmp_path / "changed", monkeypatch)
    assert all(one != before for one, before in zip(changed, weights, strict=True))


def test_epochs_of_both_kinds_are_planned_and_recorded(study: TinyStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    trained(study.folder, monkeypatch)
    output = {"labelled": 6 * 1 / 3, "unlabelled": 6 * 2 / 2}
    layout = study.layout
    assert read_json(layout.plan("streets", "tiny", "kd", CELL.budget), "plan")["epochs"] == output
    record = read_json(layout.student(CELL) / "record.json", "student")
    assert record["epochs"] == output
    assert record["plan"]["epochs"] == output
    assert record["params"]["recipe"]["unlabelled_per_batch"] == 2
    profile = read_json(layout.profile("streets", "tiny", "kd"), "profile")
    assert (profile["batch"], profile["unlabelled_per_batch"]) == (3, 2)
    assert profile["images"] == {"labelled": 3, "unlabelled": 2}
    # The teacher learns from labels alone.
    teacher = read_json(layout.teacher("streets", "small") / "record.json", "teacher")
    assert teacher["epochs"] == {"labelled": 6 * 3 / 3, "unlabelled": 0.0}
