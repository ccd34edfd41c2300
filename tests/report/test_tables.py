import csv
import io

import pytest
from results_tree import cell

from isoclock.report import print_table, tables
from isoclock.report.collect import collect
from isoclock.report.summary import differences, summarise
from isoclock.scoring.stats import Estimate


@pytest.fixture
def parts(study_tree):
    study = collect(study_tree.root, study_tree.cells, study_tree.audit)
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
    assert (hole["n"], hole["n_planned"], hole["miou_mean"], hole["marks"]) == ("0", "3", "", "noisy; 3 missing")


def test_markdown_shows_holes_spread_and_tests(parts):
    text = tables.to_markdown(*parts)
    assert "Teacher pspnet-r18: 54.5 mIoU on val." in text
    assert "| fitnet | reference | compute | compute-400 | 0 of 3 | 378 / – |" in text
    assert "noisy, 3 missing" in text
    assert "### Differences in mIoU" in text
    widths = {line.count("|") for line in text.splitlines() if line.startswith("| ")}
    assert widths == {len(tables.COLUMNS) + 1, len(tables.DIFFERENCE_TITLES) + 1}


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
    print_table(study_tree.root, study_tree.cells, study_tree.audit)
    printed = capsys.readouterr().out
    assert "compute-400" in printed
    assert "noisy, 3 missing" in printed


@pytest.mark.parametrize(
    ("spell", "value", "text"),
    [
        (tables.wording.seconds, 12.34, "12.3 s"),
        (tables.wording.seconds, 7200.0, "2.00 h"),
        (tables.wording.seconds, None, "–"),
        (tables.wording.points, Estimate(1, 0.4126), "41.3 (one seed)"),
        (tables.wording.points, Estimate(3, 0.41, 0.40, 0.42), "41.0 ± 1.0"),
        (tables.wording.signed_points, Estimate(3, -0.01, -0.02, 0.0), "-1.0 [-2.0, +0.0]"),
        (tables.wording.p_value, Estimate(3, 0.0, p=0.00001), "< 0.001"),
    ],
)
def test_wording(spell, value, text):
    assert spell(value) == text
