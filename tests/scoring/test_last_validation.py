"""Scores that training kept are those that `evaluate` would find, and are taken over only while nothing else could be found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from isoclock.cli.main import main
from isoclock.files import sha256_file
from isoclock.runner.run import train_student
from no_files import put
from tiny_study import TinyStudy, cell, write_plan

FILE = "validation.npz"

pytestmark = pytest.mark.filterwarnings("ignore:.*random weights")
CELL = cell("none")
KEPT = "taken from its last validation"


@pytest.fixture(autouse=True)
def trained(taught_study: TinyStudy, monkeypatch: pytest.MonkeyPatch) -> TinyStudy:
    monkeypatch.chdir(taught_study.folder)
    write_plan(taught_study, method="none", iterations=2)
    train_student(taught_study.params, CELL, taught_study.layout)
    return taught_study


def evaluated(study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> tuple[str, dict[str, str]]:
    """What `evaluate` says, and the digests of the files it writes."""
    capsys.readouterr()
    assert main(["evaluate", CELL.path]) == 0
    folder = study.layout.evaluation(CELL)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return capsys.readouterr().out, {str(path.relative_to(folder)): sha256_file(path) for path in files}


def test_they_are_the_scores_of_the_published_weights(trained: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    output, kept = evaluated(trained, capsys)
    assert KEPT in output
    assert len(kept) == 4, "scores, confusion matrices, two overlays"
    (trained.layout.student(CELL) / FILE).unlink()
    output, afresh = evaluated(trained, capsys)
    assert KEPT not in output
    assert kept == afresh


def test_a_teachers_are_kept_too(trained: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "streets/small"]) == 0
    assert KEPT in capsys.readouterr().out
    assert len(list(trained.layout.teacher_scores("streets", "small").overlays.glob("*.png"))) == 2, "for the report"


def other_scoring(study: TinyStudy) -> None:
    study.edit("training.yaml", "  student:\n", "  student:\n    scoring: {flip: true}\n")


def other_threads(study: TinyStudy) -> None:
    study.edit("training.yaml", "threads: 1", "threads: 2")


def half_a_file(study: TinyStudy) -> None:
    path = study.layout.student(CELL) / FILE
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def other_types(study: TinyStudy) -> None:
    np.savez_compressed(study.layout.student(CELL) / FILE, about="[1]", total=np.zeros(3), per_image=np.zeros(3))


def a_fifo(study: TinyStudy) -> None:
    put(study.layout.student(CELL) / FILE, "a FIFO")


@pytest.mark.parametrize("change", [a_fifo, other_scoring, other_threads, half_a_file, other_types])
def test_they_are_not_taken_over_after_a_change(
    trained: TinyStudy, capsys: pytest.CaptureFixture[str], change: object
) -> None:
    change(trained)  # type: ignore[operator]
    assert KEPT not in evaluated(trained, capsys)[0]


def test_without_evaluations_there_are_none(trained: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    (trained.layout.student(CELL) / FILE).unlink()
    trained.edit("training.yaml", "evaluations: 2", "evaluations: 0")
    train_student(trained.params, CELL, trained.layout)
    assert not evaluated(trained, capsys)[0].count(KEPT)


def test_taking_them_over_imports_no_torch(trained: TinyStudy) -> None:
    code = (
        "import sys; from isoclock.cli.main import main; "
        f"status = main(['evaluate', {CELL.path!r}]); print(status, 'torch' in sys.modules)"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=trained.folder, capture_output=True, text=True, check=True, timeout=120
    )
    assert output.stdout.split()[-2:] == ["0", "False"]
    assert Path(trained.layout.evaluation(CELL) / "scores.json").is_file()
