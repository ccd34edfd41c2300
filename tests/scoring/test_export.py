"""`isoclock export` and `isoclock predict` on trained networks of a tiny study."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from isoclock.cli.main import main
from isoclock.data.packing.packed import PackedSplit
from isoclock.files import read_arrays, read_json, sha256_file, write_json
from isoclock.scoring.confusion import confusion_matrix
from isoclock.scoring.onnx_file import FixedPooling
from tiny_study import TinyStudy

pytestmark = pytest.mark.filterwarnings("ignore:.*random weights")
TEACHER = "streets/small"


@pytest.fixture
def study(taught_study: TinyStudy, monkeypatch: pytest.MonkeyPatch) -> TinyStudy:
    """A study with a scored teacher, as working directory."""
    monkeypatch.chdir(taught_study.folder)
    monkeypatch.setenv("ISOCLOCK_DEVICE", "cpu")
    assert main(["evaluate", TEACHER]) == 0
    return taught_study


def write_photos(study: TinyStudy) -> list[Path]:
    """The validation images as files."""
    val, paths = PackedSplit(study.layout.prepared("streets"), "val"), []
    for number in range(len(val)):
        paths.append(study.folder / "photos" / f"{number}.png")
        paths[-1].parent.mkdir(exist_ok=True)
        cv2.imwrite(str(paths[-1]), cv2.cvtColor(val.image(number), cv2.COLOR_RGB2BGR))
    return paths


def test_an_export_is_complete_and_predicts_like_its_teacher(
    study: TinyStudy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_photos(study)
    assert main(["export", TEACHER]) == 0
    folder = study.layout.exported(TEACHER).absolute()
    assert {path.name for path in folder.iterdir()} == {"model.safetensors", "model.onnx", "model.json", "README.md"}
    assert [path.name for path in folder.parent.iterdir()] == [folder.name], "no temporary folder is left"
    document = read_json(folder / "model.json", "export")
    assert sha256_file(folder / "model.safetensors") == document["weights_sha256"]
    assert document["compared"]["images"] == 2
    card, scores = (
        (folder / "README.md").read_text(),
        read_json(study.layout.teacher_scores("streets", "small").scores, ""),
    )
    assert f"| miou | {100 * scores['miou']:.2f} |" in card
    assert "The terms of that data set hold" in card
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    assert session.get_inputs()[0].shape == [1, 3, 64, 128]

    assert main(["predict", TEACHER, "photos", "--out", "one"]) == 0
    photos = (study.folder / "photos").absolute()
    monkeypatch.chdir(tmp_path)  # an exported folder needs no params/
    assert main(["predict", str(folder), str(photos), "--out", "other"]) == 0
    val = PackedSplit(study.folder / "results/data/streets", "val")
    (per_image,) = read_arrays(
        study.folder / "results/teacher/streets/small/confusion.npz", "per_image", made_by="evaluate"
    )
    for number in range(2):
        one = (study.folder / f"one/{number}.png").read_bytes()
        assert one == (tmp_path / f"other/{number}.png").read_bytes()
        labels = cv2.imread(str(tmp_path / f"other/{number}.png"), cv2.IMREAD_UNCHANGED)
        counted = confusion_matrix(val.label(number), labels, len(document["classes"]))
        np.testing.assert_array_equal(counted, per_image[number])
        assert (tmp_path / f"other/{number}.overlay.png").is_file()


def test_an_export_that_fails_leaves_what_was_there(study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    folder = study.layout.exported(TEACHER)
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("mine")
    assert main(["export", TEACHER]) == 2
    assert "is no exported network" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]
    path = study.layout.teacher_files("streets", "small").record
    write_json(path, read_json(path, "teacher") | {"status": "diverged", "message": "loss is nan"})
    assert main(["export", TEACHER, "--out", "elsewhere"]) == 2
    assert "its training diverged" in capsys.readouterr().err
    assert not Path("elsewhere").exists()


def test_predict_names_what_it_cannot_read(study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    Path("text.png").write_text("no image")
    assert main(["predict", TEACHER, "text.png"]) == 2
    assert "text.png: neither PNG nor JPEG" in capsys.readouterr().err
    assert main(["predict", TEACHER, "absent.png"]) == 2
    assert "absent.png: no such file" in capsys.readouterr().err


@pytest.mark.parametrize(("size", "shape"), [(1, (5, 7)), (3, (8, 16)), (6, (8, 17)), ((2, None), (7, 5))])
def test_fixed_pooling_is_adaptive_pooling(size: int | tuple[int | None, int | None], shape: tuple[int, int]) -> None:
    maps = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(FixedPooling(size)(maps), nn.AdaptiveAvgPool2d(size)(maps))
