import csv
import io
import math

import pytest
from results_tree import cell
from test_break_even import kd, of, seeds

from isoclock.report import build_report
from isoclock.report.break_even_tables import (
    CURVE_TITLES,
    ROW_TITLES,
    bounds_text,
    break_even_csv,
    break_even_markdown,
    curve_cells,
    row_cells,
)
from isoclock.report.curve import Bounds

TWO = [
    seeds("kd", "compute-200", 200, 2.0, [0.40, 0.42]),
    seeds("kd", "compute-800", 800, 2.0, [0.50, 0.52]),
    seeds("m", "compute-800", 320, 5.0, [0.45, 0.41]),
]


def shown(found):
    return [dict(zip(ROW_TITLES, row_cells(found, row), strict=True)) for row in found.rows]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (Bounds(2, 2), "2.00"), (Bounds(0, 1.234), "≤ 1.23"), (Bounds(1500, math.inf), "≥ 1,500.00")],
)
def test_bounds_text(value, text):
    assert bounds_text(value) == text


def test_two_seeds_are_shown_as_they_are_and_counted():
    (row,) = shown(of(*TWO))
    assert row["x"] == "3.03"  # 0.43, which the mean curve has after 400 * 4^(1/5) anchor-steps
    assert row["x [95 %] or of each seed"] == "2.00, ≥ 4.00"
    assert row["what it would take"] == "only if cheaper than kd (0 of 2 seeds)"  # as is, and: if at all
    assert (row["n"], row["cost"], row["anchor-steps"]) == ("2 of 2", "5.00", "1,600")


def test_one_seed_has_no_spread():
    (row,) = shown(of(kd(), seeds("m", "compute-800", 320, 5.0, [0.45])))
    assert (row["x"], row["x [95 %] or of each seed"], row["n"]) == ("2.00", "–", "1 of 1")
    assert row["what it would take"].endswith("(one seed)")
    (row,) = shown(of(kd(), seeds("m", "compute-800", 320, 5.0, [None, 0.45])))
    assert row["what it would take"].endswith("(no seed in common)")


def test_holes_are_in_both_tables():
    found = of(kd(seeds("kd", "compute-400", 400, 2.0, [None])), seeds("m", "compute-800", 320, 5.0, [None]))
    (row,) = shown(found)
    assert (row["what it would take"], row["x"], row["marks"], row["n"]) == (
        "not scored",
        "–",
        "1 of 1 missing",
        "0 of 1",
    )
    hole = dict(zip(CURVE_TITLES, curve_cells(found)[1], strict=True))
    assert (hole["n"], hole["mIoU %"], hole["mIoU % on the curve"], hole["marks"]) == (
        "0 of 1",
        "–",
        "–",
        "1 of 1 missing",
    )


def test_pooled_points_are_shown_with_their_means():
    found = of(kd(seeds("kd", "compute-1600", 1600, 2.0, [0.48])), seeds("m", "compute-800", 320, 5.0, [0.45]))
    assert [cells[-2:] for cells in curve_cells(found)] == [["40.00", "40.00"], ["50.00", "49.00"], ["48.00", "49.00"]]


def test_csv_has_the_mean_and_every_seed_and_leaves_open_ends_empty():
    mean, first, second = csv.DictReader(io.StringIO(break_even_csv([of(*TWO)])))
    assert (mean["seed"], first["seed"], second["seed"], mean["n"]) == ("", "0", "1", "2")
    assert float(first["times_cheaper_low"]) == float(first["times_cheaper_high"]) == pytest.approx(2)
    assert (second["times_cheaper_low"], second["times_cheaper_high"]) == ("4.0", "")
    assert (second["kd_steps_low"], second["kd_steps_high"]) == ("", "400.0")
    assert float(mean["miou"]) == pytest.approx(0.43)


def test_markdown_says_why_there_is_none():
    text = break_even_markdown([of(seeds("kd", "iteration-200", 200, 2.0, [0.4]))])
    assert "No break-even: no compute budget here has a yardstick, or none is planned yet." in text
    assert "|" not in text


def test_report_of_a_grid_without_its_yardstick(tree, tmp_path):
    tree.scored(cell("cwd"))
    page = build_report(tree.root, tree.cells, "g", tmp_path)
    assert "No break-even: no cell of kd, its budgets&#39; yardstick, is in the grid." in page.read_text()
    assert "is in the grid" in (tmp_path / "break-even.md").read_text()
    assert (tmp_path / "break-even.csv").read_text().count("\n") == 1
