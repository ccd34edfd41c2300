"""What `evaluate` refuses to score under a cell's name: other weights, other data, labels without a class."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from isoclock.cli.main import main
from isoclock.files import read_json, sha256_file, write_json
from isoclock.grid.cells import Cell
from isoclock.runner.run import train_student
from tiny_study import TinyStudy, cell, prepare_from_params, write_plan

pytestmark = pytest.mark.filterwarnings("ignore:.*random weights")
CELL, OTHER = cell("none"), cell("none", seed=1)


@pytest.fixture
def study(prepared_study: TinyStudy, monkeypatch: pytest.MonkeyPatch) -> TinyStudy:
    """A study with a plan for one iteration, as working directory."""
    monkeypatch.chdir(prepared_study.folder)
    write_plan(prepared_study, method="none", iterations=1)
    return prepared_study


def train(study: TinyStudy, *cells: Cell) -> None:
    for one in cells:
        assert train_student(study.params, one, study.layout) == "finished"


def refused(study: TinyStudy, capsys: pytest.CaptureFixture[str], one: Cell = CELL) -> str:
    """The one line with which `evaluate` refuses a cell."""
    capsys.readouterr()
    assert main(["evaluate", one.path]) == 2
    assert not study.layout.evaluation(one).exists()
    (line,) = capsys.readouterr().err.splitlines()
    return line


def flip(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def test_weights_of_another_cell_are_refused(study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    train(study, CELL, OTHER)
    own, copied = (study.layout.student_files(one).weights for one in (CELL, OTHER))
    found, named = sha256_file(copied), sha256_file(own)
    shutil.copy2(copied, own)
    line = refused(study, capsys)
    assert f"student/{CELL.path}/weights.safetensors: not the weights of {CELL.path} that record.json names" in line
    assert f"(its SHA-256 is {found[:12]}, not {named[:12]})" in line
    assert line.endswith(f"; copy them back, or train it again (isoclock student {CELL.path})")
    (study.layout.student(CELL) / "validation.npz").unlink()
    assert refused(study, capsys) == line, "also where the images would be scored"
    assert main(["evaluate", OTHER.path]) == 0


def test_a_folder_of_another_cell_is_refused(study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    train(study, OTHER)
    shutil.copytree(study.layout.student(OTHER), study.layout.student(CELL))
    line = refused(study, capsys)
    assert f"{CELL.path}/record.json: made by `isoclock student {OTHER.path}`, so it was copied here" in line
    assert line.endswith(f"; remove it and run `isoclock student {CELL.path}`")


@pytest.mark.parametrize("file", ["val.images.u8", "val.labels.u8"])
def test_images_and_labels_that_changed_are_refused(
    study: TinyStudy, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    train(study, CELL)
    flip(study.layout.prepared("streets") / file)
    line = refused(study, capsys)
    assert f"streets/{file}: not the file that index.json names (its SHA-256 is " in line
    assert line.endswith("; run `isoclock prepare streets` again")


def test_data_that_were_prepared_differently_are_refused(study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    train(study, CELL)
    study.edit("datasets.yaml", "  val: val\n", "  val: val\n  labelled_images: 4\n")
    prepare_from_params(study)
    line = refused(study, capsys)
    assert f"streets/index.json: not the data that {CELL.path} was trained on (its SHA-256 is " in line
    assert line.endswith(f"; train it again (isoclock student {CELL.path})")


def test_labels_that_are_all_void_are_no_divergence(study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (study.folder / "data/streets/gtFine").rglob("*_labelIds.png"):
        cv2.imwrite(str(path), np.zeros_like(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)))
    prepare_from_params(study)
    train(study, CELL)  # its loss is 0
    assert read_json(study.layout.student_files(CELL).record, "student")["status"] == "finished"
    line = refused(study, capsys)
    assert line.startswith(f"isoclock: {CELL.path}: nothing to score: all labels of split val are void (")
    assert line.endswith(
        "streets/index.json); correct the labels or the reader, then run `isoclock prepare streets` again"
    )


def test_a_run_that_diverged_prints_no_score(study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    train(study, CELL)
    path = study.layout.student_files(CELL).record
    write_json(path, read_json(path, "student") | {"status": "diverged", "message": "loss is nan"})
    capsys.readouterr()
    assert main(["evaluate", CELL.path]) == 0
    assert capsys.readouterr().out.startswith(f"{CELL.path}: diverged")
    assert read_json(study.layout.student_scores(CELL).scores, "evaluate")["miou"] is None


@pytest.mark.parametrize(
    ("file", "old", "new", "key"),
    [
        ("training.yaml", "mean: [0.485,", "mean: [0.5,", "colour"),
        ("models.yaml", "      head_channels: 16\n", "      head_channels: 16\n      dropout: 0.5\n", "params"),
    ],
)
def test_another_network_or_normalisation_than_was_trained_is_refused(
    study: TinyStudy, capsys: pytest.CaptureFixture[str], file: str, old: str, new: str, key: str
) -> None:
    train(study, CELL)
    study.edit(file, old, new)
    assert f"{CELL.path}/record.json: {CELL.path} was trained with another {key} (" in refused(study, capsys)
