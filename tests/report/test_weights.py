"""The report says where weights come from, and charges what choosing them took."""

from __future__ import annotations

import csv

import pytest

from isoclock.cli.main import main
from isoclock.grid.cells import Cell, cells
from isoclock.report.weights import weights_of
from tiny_study import TinyStudy
from tuned_study import add_tuned_grid, write_cell, write_sweep


@pytest.fixture
def study(empty_study: TinyStudy, monkeypatch: pytest.MonkeyPatch) -> TinyStudy:
    add_tuned_grid(empty_study.folder / "params")
    monkeypatch.chdir(empty_study.folder)
    return empty_study


def test_origins_are_those_of_the_provenance(study: TinyStudy) -> None:
    kd = "weights: {kd: 1.0}\n  provenance: "
    study.edit("methods.yaml", kd + '{"*": ours}', kd + '{weights: "published: a paper", "*": ours}')
    study.edit(
        "methods.yaml",
        'weights: {cwd: 3.0}\n  provenance: {"*": ours}',
        'weights: {cwd: 3.0}\n  weights_for: {streets: {cwd: 5.0}}\n  provenance: {weights_for: assumed, "*": ours}',
    )
    study.edit("grids/toy.yaml", "[none, kd, fitnet, cwd, mgd]", "[none, kd, kd.x2, fitnet, cwd]")
    found = {method: weights.origin for (_, _, method), weights in weights_of(study.params, "toy").items()}
    assert found == {"none": "", "kd": "published", "kd.x2": "published x2", "fitnet": "ours", "cwd": "assumed"}


def test_tables_show_tuned_weights_and_what_they_took(study: TinyStudy) -> None:
    write_sweep(study)
    assert main(["tune", "weighed"]) == 0
    for cell in cells(study.params, "weighed"):
        write_cell(study, cell, 0.5 if cell.method == "kd" else 0.4)
    assert main(["report", "--grid", "weighed"]) == 0
    folder = study.folder / "results/report/weighed"
    rows = list(csv.DictReader((folder / "comparison.csv").open()))
    assert {row["method"]: row["weights"] for row in rows} == {"none.x2": "tuned x2", "kd": "tuned x1"}
    assert {row["tuning_anchor_steps"] for row in rows} == {"27.0"}
    for name in ("comparison.md", "comparison.tex", "report.html"):
        text = (folder / name).read_text()
        assert "tuned x2" in text
        assert "tuning time / anchor-steps" in text
        assert "2.7 s / 27" in text
    page = (folder / "comparison.md").read_text()
    assert "| none.x2 | kd | compute-6 |" in page, "the reference of differences is kd, with whatever factor"


def test_the_yardsticks_cells_may_have_a_factor(study: TinyStudy) -> None:
    write_sweep(study, {"none": 0.1, "none.x0.5": 0.2, "none.x2": 0.1, "kd": 0.1, "kd.x0.5": 0.2, "kd.x2": 0.1})
    assert main(["tune", "weighed"]) == 0
    for cell in cells(study.params, "weighed"):
        write_cell(study, cell, 0.5)
    assert main(["report", "--grid", "weighed"]) == 0
    even = (study.folder / "results/report/weighed/break-even.md").read_text()
    assert "Canonical KD: kd.x0.5" in even
    assert "No break-even" not in even


def test_published_weights_have_no_column_for_tuning(study: TinyStudy) -> None:
    write_cell(study, Cell("streets", "tiny", "kd", "compute-6", 0), 0.5)
    assert main(["report", "--grid", "toy"]) == 0
    page = (study.folder / "results/report/toy/comparison.md").read_text()
    assert "| kd | reference | ours |" in page
    assert "tuning time" not in page.partition("n: seeds finished")[0]


def test_a_sweep_has_no_share_of_the_teacher(study: TinyStudy) -> None:
    """The teacher was scored on other images."""
    import documents
    from isoclock.records.document import write

    write_sweep(study)
    write(study.layout.teacher_scores("streets", "small").scores, documents.scores(None, 0.6))
    assert main(["report", "--grid", "weighed.sweep"]) == 0
    rows = list(csv.DictReader((study.folder / "results/report/weighed.sweep/cells.csv").open()))
    assert len(rows) == 6
    assert {row["teacher_miou"] for row in rows} == {""}
