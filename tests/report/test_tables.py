import csv
import io

import pytest
from results_tree import cell

import documents
from isoclock.records.document import read, write
from isoclock.records.scores import ScoreDocument
from isoclock.report import build_report, print_table, tables
from isoclock.report.collect import collect
from isoclock.report.differences import differences
from isoclock.report.summary import summarise
from isoclock.scoring.metrics import metrics
from isoclock.statistics.estimate import Estimate


@pytest.fixture
def parts(study_tree):
    study = collect(study_tree.root, study_tree.cells)
    summaries = summarise(study.rows)
    return study, summaries, differences(study, summaries)


def test_cells_csv_has_a_line_a_cell_and_plain_numbers(parts):
    study = parts[0]
    lines = list(csv.DictReader(io.StringIO(tables.cells_csv(study.rows))))
    assert len(lines) == len(study.rows) == 60
    assert {line["status"] for line in lines} == {"finished", "missing", "diverged"}
    assert [line["miou"] for line in lines if line["status"] != "finished"] == [""] * 5
    assert float(lines[0]["miou"]) == study.rows[0].miou


def test_comparison_csv_has_a_line_a_method_and_budget(parts):
    lines = list(csv.DictReader(io.StringIO(tables.to_csv(parts[1]))))
    assert len(lines) == 20
    hole = next(line for line in lines if (line["method"], line["budget"]) == ("fitnet", "compute-400"))
    assert (hole["n"], hole["n_planned"], hole["miou_mean"], hole["marks"]) == ("0", "3", "", "noisy; 3 of 3 missing")


def test_markdown_shows_holes_spread_and_tests(parts):
    text = tables.to_markdown(*parts)
    assert "Teacher pspnet-r18: 54.5 mIoU on val." in text
    assert "| fitnet | reference | – | compute | compute-400 | 0 of 3 | 378 / – |" in text
    assert "noisy, 3 of 3 missing" in text
    assert "### Differences in mIoU" in text
    widths = {line.count("|") for line in text.splitlines() if line.startswith("| ")}
    assert widths == {len(tables.COLUMNS) + 1, len(tables.DIFFERENCE_TITLES) + 1, 3 + len(metrics()) + 1}


def test_every_metric_is_in_the_files_by_its_name(tree):
    """Also one whose file is not there any more; the comparison itself shows the mIoU alone."""
    for seed, value in ((0, 0.25), (1, 0.75)):
        tree.scored(cell(seed=seed))
        path = tree.layout.student_scores(cell(seed=seed)).scores
        scores = read(path, ScoreDocument, "evaluate")
        write(path, scores.model_copy(update={"metrics": scores.metrics | {"removed": value}}))
    tree.expect(cell("none"))
    study = collect(tree.root, tree.cells)
    summaries = summarise(study.rows)
    lines = list(csv.DictReader(io.StringIO(tables.cells_csv(study.rows))))
    assert [line["removed"] for line in lines] == ["0.25", "0.75", ""]
    assert float(lines[0]["mean_class_accuracy"]) == study.rows[0].metrics["mean_class_accuracy"]
    means = list(csv.DictReader(io.StringIO(tables.to_csv(summaries))))
    assert [line["removed_mean"] for line in means] == ["0.5", ""]
    text = tables.to_markdown(study, summaries, [])
    titles = "method | budget | n | mIoU % | mean class accuracy % | pixel accuracy % | removed % |"
    (row,) = [line for line in text[text.index(titles) :].splitlines() if line.startswith("| kd |")]
    assert row.endswith("| 50.0 ± 317.7 |"), "one degree of freedom: 12.706 * 35.36 / sqrt(2)"
    assert text[: text.index("### All metrics")].count("accuracy") == 0


def test_a_cell_of_unlike_hardware_is_in_no_matched_table(tree, tmp_path):
    """Its score is there, and the best of all: it is a hole that says why, and the mean is of the others."""
    tree.teacher()
    for method in ("none", "kd"):
        tree.profile(method)
        for seed in (0, 1):
            tree.scored(cell(method, seed=seed), miou=0.6 if (method, seed) == ("kd", 1) else 0.4)
    plan = tree.plan(cell(seed=1))
    segments = [
        documents.segment(plan.planned_s / 2, plan.anchor_s, device_kind=kind) for kind in ("cpu:test", "cpu:other")
    ]
    write(tree.layout.student(cell(seed=1)) / "record.json", documents.student_record(cell(seed=1), plan, segments))

    out = tmp_path / "report"
    page = build_report(tree.root, tree.cells, "demo", out)
    lines = (out / "comparison.md").read_text().splitlines()
    none, kd = (next(line for line in lines if line.startswith(f"| {method} ")) for method in ("none", "kd"))
    assert "| 1 of 2 |" in kd
    assert "mixed-hardware" in kd
    assert "1 of 2 missing" in kd
    assert "| 2 of 2 |" in none
    assert "mixed-hardware" not in none
    means, cells = (list(csv.DictReader((out / f"{name}.csv").open())) for name in ("comparison", "cells"))
    found = {(row["method"], row["seed"]): row for row in cells}
    assert (found["kd", "1"]["status"], found["kd", "1"]["miou"]) == ("missing", "")
    assert {row["method"]: row["miou_mean"] for row in means}["kd"] == found["kd", "0"]["miou"]
    assert "trained in parts on different hardware; remove runs/student/" in page.read_text()


def test_latex_is_booktabs_and_escaped(parts, tree):
    text = tables.to_latex(*parts[:2])
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 1
    assert r"$\pm$" in text
    assert r"mIoU \%" in text
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.count("&") for line in rows} == {len(tables.COLUMNS) - 1}
    odd = collect(tree.root, [cell("my_method&co")])
    assert r"my\_method\&co" in tables.to_latex(odd, summarise(odd.rows))


def test_terminal_table(study_tree, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    print_table(study_tree.root, study_tree.cells)
    printed = capsys.readouterr().out
    assert "compute-400" in printed
    assert "noisy, 3 of 3 missing" in printed


@pytest.mark.parametrize(
    ("spell", "value", "text"),
    [
        (tables.format.seconds, 12.34, "12.3 s"),
        (tables.format.seconds, 7200.0, "2.00 h"),
        (tables.format.seconds, None, "–"),
        (tables.format.points, Estimate(1, 0.4126), "41.3 (one seed)"),
        (tables.format.points, Estimate(3, 0.41, 0.40, 0.42), "41.0 ± 1.0"),
        (tables.format.signed_points, Estimate(3, -0.01, -0.02, 0.0), "-1.0 [-2.0, +0.0]"),
        (tables.format.p, 0.00001, "< 0.001"),
    ],
)
def test_wording(spell, value, text):
    assert spell(value) == text
