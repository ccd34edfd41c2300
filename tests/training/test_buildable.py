"""`isoclock check` finds what a node would find out too late."""

from __future__ import annotations

import pytest

from isoclock.cli.main import main
from isoclock.params.weights_files import weights_files_problems
from isoclock.training.buildable import build_problems
from tiny_study import TinyStudy

MASK2FORMER = (
    "architecture: mask2former\n    params: {swin: micro, channels: 32, encoder_layers: 1, decoder_layers: 1}\n"
)


def found(study: TinyStudy) -> list[str]:
    problems = build_problems(study.params, ["toy"]) + weights_files_problems(study.params, "toy")
    return [problem.removeprefix(f"{study.folder}/params/") for problem in problems]


def replace_small(study: TinyStudy, entry: str) -> None:
    """Another teacher."""
    path = study.folder / "params" / "models.yaml"
    text = path.read_text()
    start, end = text.index("architecture: pspnet"), text.index("    weights: random")
    path.write_text(text[:start] + entry + text[end:])


def test_the_tiny_study_can_be_built(empty_study: TinyStudy) -> None:
    assert found(empty_study) == []


def test_an_encoder_that_does_not_exist(empty_study: TinyStudy) -> None:
    text = (empty_study.folder / "params" / "models.yaml").read_text().replace("tu-test_resnet", "tu-no_such_net")
    (empty_study.folder / "params" / "models.yaml").write_text(text)
    assert [line.partition(" (")[0] for line in found(empty_study)] == [
        f"models.yaml: models.{name}: encoder: 'tu-no_such_net': timm cannot build it at stride 8"
        for name in ("tiny", "small")
    ]


def test_a_weights_file_that_does_not_exist(empty_study: TinyStudy) -> None:
    old = 'random\n    provenance: {"*": ours}\n  tiny'
    empty_study.edit("models.yaml", old, old.replace("random", "weights/none.pth"))
    (line,) = found(empty_study)
    assert line.startswith("models.yaml: models.small.weights: weights/none.pth: not here; copy it there")
    (empty_study.folder / "params" / "grids" / "toy.yaml").write_text(
        (empty_study.folder / "params" / "grids" / "toy.yaml")
        .read_text()
        .replace("[none, kd, fitnet, cwd, mgd]", "[none]")
    )
    assert found(empty_study) == [], "no method of the grid has a teacher"


def test_a_method_whose_parameter_does_not_fit_the_teachers_channels(empty_study: TinyStudy) -> None:
    entry = (
        "method: afdcd\n  implementation: reference\n  params: {groups: 7}\n  weights: {feature: 1.0, contrast: 1.0}\n"
    )
    empty_study.edit("methods.yaml", "\nkd:\n", f"\nafd:\n  {entry}  provenance: {{'*': ours}}\nkd:\n")
    empty_study.edit("grids/toy.yaml", "[none, kd,", "[none, afd, kd,")
    (line,) = found(empty_study)
    assert line.startswith("grids/toy.yaml: method afd with pair tiny: afdcd.groups: 7: must divide the teacher's")


def test_a_teacher_of_another_stride_is_accepted_by_every_method(empty_study: TinyStudy) -> None:
    replace_small(empty_study, MASK2FORMER)
    assert found(empty_study) == []


def test_a_crop_larger_than_every_image(
    prepared_study: TinyStudy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(prepared_study.folder)
    assert main(["check", "--grid", "toy"]) == 0
    prepared_study.edit("training.yaml", "crop: [32, 64]", "crop: [32, 256]")
    assert main(["check", "--grid", "toy"]) == 2
    for role, line in zip(("student", "teacher"), capsys.readouterr().err.splitlines(), strict=True):
        assert (
            f"params/training.yaml: streets.{role}.crop: [32, 256] is larger than every image of streets, even scaled"
            in line
        )
