"""A teacher that is imported is published, scored and teaches like one that was trained here."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from isoclock.cli.main import main
from isoclock.errors import ArtifactError
from isoclock.files import read_json, sha256_file, sha256_path, write_json
from isoclock.models import build_segmenter
from isoclock.models.trained import load_weights, new_segmenter
from isoclock.runner.imported import import_teacher
from isoclock.runner.run import train_student
from tiny_study import TinyStudy, cell, write_plan

pytestmark = pytest.mark.filterwarnings("ignore:.*random weights")


@pytest.fixture
def study(taught_study: TinyStudy, monkeypatch: pytest.MonkeyPatch) -> TinyStudy:
    """A study whose teacher was trained in another one: its weights and record lie in elsewhere/."""
    monkeypatch.chdir(taught_study.folder)
    trained = taught_study.layout.teacher("streets", "small")
    shutil.copytree(trained, "elsewhere")
    shutil.rmtree(trained)
    use(taught_study, Path("elsewhere/weights.safetensors"))
    return taught_study


def use(study: TinyStudy, path: Path, form: str = "isoclock") -> None:
    """Make a file or folder the checkpoint of model `small`."""
    entry = {
        "path": str(path),
        "format": form,
        "sha256": sha256_path(path),
        "source": "elsewhere",
        "licence": "MIT",
    }
    models = study.folder / "params" / "models.yaml"
    before, _, after = models.read_text().partition("    weights: random\n")
    models.write_text(f"{before}    checkpoint: {json.dumps(entry)}\n{after}")


def record(study: TinyStudy) -> Any:
    return read_json(study.layout.teacher_files("streets", "small").record, "teacher")


def test_an_imported_teacher_is_scored_and_teaches(study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["teacher", "streets", "small"]) == 0
    assert "elsewhere/weights.safetensors: format isoclock" in capsys.readouterr().out
    files = study.layout.teacher_files("streets", "small")
    assert sha256_file(files.weights) == read_json(Path("elsewhere/record.json"), "teacher")["digests"]["weights"]
    found = record(study)
    assert (found["status"], found["iterations"]) == ("finished", {"done": 0, "planned": 0})
    assert found["imported"]["licence"] == "MIT"
    assert found["imported"]["classes"] == found["params"]["classes"]
    assert main(["evaluate", "streets/small"]) == 0
    write_plan(study, iterations=1)
    assert train_student(study.params, cell(), study.layout) == "finished"
    taught = read_json(study.layout.student_files(cell()).record, "student")
    assert taught["digests"]["teacher"] == found["digests"]["weights"]


def test_a_file_that_is_not_the_one_in_params_is_refused(study: TinyStudy) -> None:
    path = Path("elsewhere/weights.safetensors")
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(
        ArtifactError, match=r"not the file that params/models\.yaml names in small\.checkpoint .*get it again"
    ):
        import_teacher(study.params, "streets", "small", study.layout)


def test_other_classes_are_refused(study: TinyStudy) -> None:
    path = Path("elsewhere/record.json")
    content = read_json(path, "teacher")
    content["params"]["classes"][0] = "canal"
    write_json(path, content)
    with pytest.raises(ArtifactError, match="its class names differ from the data set's"):
        import_teacher(study.params, "streets", "small", study.layout)
    assert not study.layout.teacher_files("streets", "small").record.exists()


def test_another_checkpoint_makes_the_teacher_anew(study: TinyStudy) -> None:
    from isoclock.grid.stamps import student_stamp, teacher_stamp

    before = teacher_stamp(study.params, "streets", "small"), student_stamp(study.params, cell())
    study.edit("models.yaml", '"source": "elsewhere"', '"source": "a server"')
    assert (teacher_stamp(study.params, "streets", "small"), student_stamp(study.params, cell())) == before
    study.edit("models.yaml", study.params.model("small").checkpoint.sha256, "ab" * 32)
    after = teacher_stamp(study.params, "streets", "small"), student_stamp(study.params, cell())
    assert after[0] != before[0]
    assert after[1] != before[1]


def test_the_verb_import_prints_the_entry(study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "small", "elsewhere/weights.safetensors"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("19 classes: road, sidewalk")
    assert f'      sha256: "{sha256_file(Path("elsewhere/weights.safetensors"))}"' in lines
    assert main(["import", "tiny", "elsewhere/weights.safetensors"]) == 2
    assert "does not fit tiny" in capsys.readouterr().err


MICRO = {
    "mask2former": "{swin: micro, queries: 7, channels: 32, encoder_layers: 1, decoder_layers: 1}",
    "segformer": "{size: micro}",
}


@pytest.mark.parametrize("name", MICRO)
def test_a_network_that_save_pretrained_wrote_is_a_teacher(name: str, taught_study: TinyStudy) -> None:
    study, folder = taught_study, taught_study.folder / "saved"
    classes = record(study)["params"]["classes"]
    params = yaml.safe_load(MICRO[name])
    torch.manual_seed(5)
    source = build_segmenter(name, len(classes), **params).eval()
    source.network.config.id2label = dict(enumerate(classes[::-1]))
    source.network.save_pretrained(folder)
    use(study, folder, "transformers")
    models = study.folder / "params" / "models.yaml"
    text = models.read_text()
    start, end = text.index("pspnet"), text.index("    checkpoint:")
    models.write_text(f"{text[:start]}{name}\n    params: {MICRO[name]}\n{text[end:]}")
    assert import_teacher(study.params, "streets", "small", study.layout) == "finished"
    found = record(study)["imported"]
    assert (found["classes"], found["sha256"], found["unused"]) == (classes[::-1], sha256_path(folder), [])
    target, images = (
        new_segmenter(study.params.model("small"), len(classes), initial=False).eval(),
        torch.randn(1, 3, 64, 96),
    )
    load_weights(target, study.layout.teacher_files("streets", "small").weights, "teacher")
    with torch.no_grad():
        torch.testing.assert_close(target(images).logits, source(images).logits.flip(1))
    (folder / "config.json").write_text((folder / "config.json").read_text() + " ")
    with pytest.raises(ArtifactError, match=r"saved: not the file that params/models\.yaml names"):
        import_teacher(study.params, "streets", "small", study.layout)
