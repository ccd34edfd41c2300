"""The verb `evaluate` on a teacher of a tiny study: its scores lie beside its weights, and are made again without it."""

from __future__ import annotations

import numpy as np
import pytest

import documents
from isoclock.cli.main import main
from isoclock.files import read_json, sha256_file, write_json
from isoclock.protocol import VERSION
from isoclock.records.document import write
from isoclock.scoring.metrics.miou import of as mean_iou
from tiny_study import TinyStudy, add_avenues, cell

pytestmark = pytest.mark.filterwarnings("ignore:.*random weights")


@pytest.fixture(autouse=True)
def in_the_study(taught_study: TinyStudy, monkeypatch: pytest.MonkeyPatch) -> TinyStudy:
    monkeypatch.chdir(taught_study.folder)
    return taught_study


def test_a_teachers_scores_lie_beside_its_weights(in_the_study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    folder = in_the_study.layout.teacher("streets", "small")
    trained = {path: sha256_file(path) for path in folder.iterdir()}
    assert main(["evaluate", "streets/small"]) == 0
    scores = read_json(folder / "scores.json", "evaluate")
    assert capsys.readouterr().out.startswith(f"streets/small: mIoU {scores['miou']:.4f}")
    assert {path.name for path in folder.iterdir()} - {path.name for path in trained} == {
        "scores.json",
        "confusion.npz",
        "overlays",
    }
    assert {path: sha256_file(path) for path in trained} == trained
    assert scores["weights"] == sha256_file(folder / "weights.safetensors")
    assert (scores["status"], scores["iterations"], scores["images"], scores["split"]) == ("finished", 6, 2, "val")
    assert (scores["cell"], scores["dataset"], scores["protocol_version"]) == (None, "streets", VERSION)
    with np.load(folder / "confusion.npz", allow_pickle=False) as stored:
        assert scores["miou"] == mean_iou(stored["total"])


def test_a_teacher_keeps_its_weights_under_a_new_version_and_is_scored_under_it(in_the_study: TinyStudy) -> None:
    path = in_the_study.layout.teacher("streets", "small") / "record.json"
    write_json(path, read_json(path, "teacher") | {"protocol_version": 1})
    assert main(["evaluate", "streets/small"]) == 0
    assert read_json(path.with_name("scores.json"), "evaluate")["protocol_version"] == VERSION


def test_a_student_of_another_version_is_not_scored(
    in_the_study: TinyStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    path = in_the_study.layout.student(cell()) / "record.json"
    write(path, documents.student_record(cell(), protocol_version=VERSION + 1))
    assert main(["evaluate", cell().path]) == 2
    (output,) = [line for line in capsys.readouterr().err.splitlines() if "record.json" in line]
    assert f"record.json: made under version {VERSION + 1} of the protocol, and this is version {VERSION}" in output
    assert output.endswith(f"train it again (isoclock student {cell().path})")
    assert not in_the_study.layout.evaluation(cell()).exists()


def test_a_teacher_is_looked_at_as_its_own_recipe_says(in_the_study: TinyStudy) -> None:
    in_the_study.edit("training.yaml", "  teacher:\n", "  teacher:\n    scoring: {flip: true}\n")
    assert main(["evaluate", "streets/small/"]) == 0
    scores = read_json(in_the_study.layout.teacher("streets", "small") / "scores.json", "evaluate")
    assert scores["scoring"]["flip"]


def test_a_shared_teacher_is_scored_where_it_is(in_the_study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    add_avenues(in_the_study.folder / "params")
    assert main(["evaluate", "avenues/small"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("avenues has no teachers of its own; use those of streets")
