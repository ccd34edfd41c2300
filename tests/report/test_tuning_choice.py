"""Which weight a sweep chooses, and what it says where it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from isoclock.cli.main import main
from isoclock.errors import ArtifactError
from isoclock.grid.cells import Cell, cells
from isoclock.report.tuning import choose_weights
from tiny_study import TinyStudy
from tuned_study import HELD_OUT, SCORES, add_tuned_grid, write_cell, write_sweep


@pytest.fixture
def study(empty_study: TinyStudy, monkeypatch: pytest.MonkeyPatch) -> TinyStudy:
    add_tuned_grid(empty_study.folder / "params")
    write_sweep(empty_study)
    monkeypatch.chdir(empty_study.folder)
    return empty_study


def test_the_highest_mean_is_chosen_and_everything_spent_is_counted(study: TinyStudy) -> None:
    found = choose_weights(study.params, "weighed", study.layout)["streets"]["tiny"]
    assert found["none"]["factor"] == 2.0
    assert found["none"]["miou"] == {"x0.5": 0.38, "x1": 0.4, "x2": 0.42}
    assert found["kd"]["factor"] == 1.0, "of equal ones, that closest to 1; and x2 diverged"
    assert found["kd"]["miou"] == {"x0.5": 0.44, "x1": 0.44, "x2": None}
    for entry in found.values():
        assert (entry["runs"], entry["anchor_steps"], entry["device_kind"]) == (3, 27.0, "cpu:test")
        assert entry["train_s"] == pytest.approx(2.7)


def test_a_mean_is_over_seeds_and_a_diverged_seed_excludes_its_factor(study: TinyStudy) -> None:
    study.edit("grids/weighed.yaml", "tune:\n", "tune:\n  seeds: [0, 1]\n")
    scores = {"none": 0.5, "none.x0.5": 0.1, "none.x2": None, "kd": 0.2, "kd.x0.5": 0.5, "kd.x2": 0.4}
    for method, miou in scores.items():
        write_cell(study, Cell(HELD_OUT, "tiny", method, "compute-6", 1), miou)
    found = choose_weights(study.params, "weighed", study.layout)["streets"]["tiny"]
    assert found["none"]["factor"] == 1.0
    assert found["none"]["miou"]["x2"] is None
    assert found["kd"]["factor"] == 0.5
    assert found["kd"]["miou"]["x0.5"] == pytest.approx(0.47)
    assert {entry["runs"] for entry in found.values()} == {6}


def test_the_digest_is_of_what_was_chosen_from(study: TinyStudy) -> None:
    def provenance() -> str:
        chosen = choose_weights(study.params, "weighed", study.layout)
        return str(chosen["streets"]["tiny"]["kd"]["provenance"]["*"])

    before = provenance()
    assert provenance() == before
    write_sweep(study, {**SCORES, "none": 0.41})
    assert provenance() != before


def test_the_verb_says_what_it_chose(study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", "weighed"]) == 0
    none, kd, path = capsys.readouterr().out.splitlines()
    assert none == (
        "streets tiny none: x2; at the end of the sweep (x0.5 38.0, x1 40.0, x2 42.0 mIoU; 27 anchor-steps)"
    )
    assert kd == "streets tiny kd: x1 (x0.5 44.0, x1 44.0, x2 diverged mIoU; 27 anchor-steps)"
    assert path == "params/tuned/weighed.yaml"
    assert "*id" not in Path(path).read_text(), "no aliases"
    assert {cell.method for cell in cells(study.params, "weighed")} == {"none.x2", "kd"}
    assert main(["tune", "weighed"]) == 0, "again, with the file there"


def test_a_run_that_is_missing_is_named_with_the_command(study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    cell = Cell(HELD_OUT, "tiny", "kd.x2", "compute-6", 0)
    study.layout.student_files(cell).record.unlink()
    assert main(["tune", "weighed"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"isoclock: grid weighed.sweep: 1 of 6 cells are not scored ({cell.path}: not trained")
    assert "`snakemake --profile PROFILE --config grid=weighed.sweep -- evaluations`" in line
    assert not (study.folder / "params/tuned").exists()


def test_a_run_with_other_values_is_not_used(study: TinyStudy) -> None:
    study.edit("methods.yaml", "weights: {kd: 1.0}", "weights: {kd: 1.5}")
    with pytest.raises(
        ArtifactError, match=r"kd\.x0\.5/compute-6/0: trained with another method than params/ has by now"
    ):
        choose_weights(study.params, "weighed", study.layout)


def test_a_method_that_always_diverged(study: TinyStudy) -> None:
    write_sweep(study, {**SCORES, "kd": None, "kd.x0.5": None})
    with pytest.raises(ArtifactError, match="streets tiny kd: every factor diverged"):
        choose_weights(study.params, "weighed", study.layout)


def test_a_grid_that_does_not_say_how(study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", "toy"]) == 2
    assert "grids/toy.yaml: tune: missing" in capsys.readouterr().err
    assert main(["tune", "nope"]) == 2
    assert "unknown grid 'nope.sweep'; choose from" in capsys.readouterr().err
