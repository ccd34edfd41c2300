"""Pairs whose networks have other strides and channels train with every method; the whole pipeline takes tiny ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from isoclock.cli.main import main
from isoclock.files import read_json
from tiny_study import TinyStudy

pytestmark = pytest.mark.filterwarnings("ignore:.*random weights")
TEACHERS = {
    "mask2former": "{swin: micro, queries: 7, channels: 32, encoder_layers: 1, decoder_layers: 2}",
    "segformer": "{size: micro}",
    "upernet": "{swin: micro, channels: 16, aux_channels: 8}",
    "smp": "{decoder: deeplabv3plus, encoder: tu-test_resnet, encoder_stride: 16, channels: 16, aux_channels: 8}",
}
METHODS = ("kd", "fitnet", "mgd")


@pytest.mark.test_all
@pytest.mark.parametrize("architecture", TEACHERS)
def test_the_pipeline_takes_it_as_a_teacher_and_as_a_student(
    architecture: str, prepared_study: TinyStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(prepared_study.folder)
    layout, models = prepared_study.layout, Path("params/models.yaml")
    entry = f"  other:\n    architecture: {architecture}\n    params: {TEACHERS[architecture]}\n    weights: random\n"
    pairs = "".join(
        f'  {name}:\n    teacher: {teacher}\n    student: {student}\n    profile: demo\n    provenance: {{"*": ours}}\n'
        for name, teacher, student in (("as-teacher", "other", "tiny"), ("as-student", "small", "other"))
    )
    models.write_text(models.read_text().replace("pairs:\n", f'{entry}    provenance: {{"*": ours}}\npairs:\n') + pairs)
    prepared_study.edit("grids/toy.yaml", "pairs: [tiny]", "pairs: [as-teacher, as-student]")
    assert main(["check", "--grid", "toy"]) == 0
    for teacher in ("other", "small"):
        assert main(["teacher", "streets", teacher]) == 0
    assert main(["plan", "--dry", "--grid", "toy"]) == 0
    for pair in ("as-teacher", "as-student"):
        assert main(["plan", "streets", pair, "iteration-6"]) == 0
        for method in METHODS:
            assert main(["profile", "streets", pair, method]) == 0
            assert read_json(layout.profile("streets", pair, method), "profile")["gflops"]["total"] > 0
            assert main(["plan", "streets", pair, "iteration-6", method]) == 0
            cell = f"streets/{pair}/{method}/iteration-6/0"
            assert main(["student", cell]) == 0
            record = read_json(layout.results / "student" / cell / "record.json", "student")
            assert (record["status"], record["iterations"]["done"]) == ("finished", 6)
            assert main(["evaluate", cell]) == 0
