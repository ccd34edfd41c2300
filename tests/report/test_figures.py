import json
import subprocess
import sys

import pytest
from matplotlib.markers import CARETLEFTBASE, CARETRIGHTBASE
from results_tree import cell

from isoclock.report.break_even import break_even
from isoclock.report.collect import collect
from isoclock.report.figures import PairResults, draw_figures
from isoclock.report.figures import break_even as break_even_figure
from isoclock.report.summary import summarise


def draw(tree, folder):
    study = collect(tree.root, tree.cells)
    summaries = summarise(study.rows)
    return draw_figures(study, summaries, {of: break_even(summaries, *of) for of in study.pairs}, folder)


def test_every_figure_in_three_formats_and_the_same_bytes_twice(study_tree, tmp_path):
    drawings = draw(study_tree, tmp_path / "one")
    draw(study_tree, tmp_path / "two")
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert [drawing.stem.name.split("-streets")[0] for drawing in drawings] == [
        "matched",
        "cost-shares",
        "miou-budget",
        "break-even",
    ]
    assert len(names) == 12
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_one_budget_of_one_protocol_has_scores_and_no_curve(tree, tmp_path):
    for method in ("none", "kd"):
        tree.profile(method)
        tree.scored(cell(method))
    assert [drawing.stem.name for drawing in draw(tree, tmp_path)] == [
        "scores-streets-demo",
        "cost-shares-streets-demo",
        "break-even-streets-demo",
    ]


def test_compute_budgets_alone_have_a_curve_and_nothing_is_called_matched(tree, tmp_path):
    for budget in ("compute-400", "compute-800"):
        tree.scored(cell("kd", budget))
    assert [drawing.stem.name for drawing in draw(tree, tmp_path)] == ["miou-budget-streets-demo"]


def test_nothing_to_draw_is_no_error(tree, tmp_path):
    tree.expect(cell())
    assert draw(tree, tmp_path) == []


@pytest.mark.parametrize("teacher", [0.47, 0.95])
def test_single_seed_with_a_near_and_a_far_teacher(tree, tmp_path, teacher):
    tree.teacher(miou=teacher)
    for budget in ("iteration-400", "compute-400", "compute-800"):
        tree.scored(cell("kd", budget))
    assert [drawing.stem.name.split("-")[0] for drawing in draw(tree, tmp_path)] == ["matched", "miou"]


def test_both_implementations_stand_against_each_other_next_to_a_method_with_one(tree, tmp_path):
    for method in ("none", "kd", "mgd", "mgd.tuned"):
        tree.profile(method)
        for seed in range(3):
            tree.scored(cell(method, seed=seed))
    assert "implementations-streets-demo" in [drawing.stem.name for drawing in draw(tree, tmp_path)]


def further(tree, methods=("none", "kd", "mgd"), datasets=(("few", 0), ("semi", 4))):
    for dataset, unlabelled in datasets:
        for method in methods:
            tree.profile(method, dataset=dataset)
            for budget in ("compute-400", "compute-800"):
                for seed in range(3):
                    tree.scored(cell(method, budget, seed, dataset=dataset), unlabelled=unlabelled)


def test_further_images_stand_against_the_same_labels_alone(tree, tmp_path):
    further(tree)
    names = [drawing.stem.name for drawing in draw(tree, tmp_path)]
    assert "further-images-semi-demo" in names
    assert "further-images-few-demo" not in names


@pytest.mark.parametrize("others", [(), (("few", 0), ("other", 0)), (("more", 2),)])
def test_without_one_data_set_to_compare_with_there_is_no_such_figure(tree, tmp_path, others):
    further(tree, ("kd",), (*others, ("semi", 4)))
    assert not [drawing for drawing in draw(tree, tmp_path) if drawing.stem.name.startswith("further")]


def test_bounds_alone_are_drawn_and_kd_alone_is_not(tree, tmp_path):
    tree.scored(cell("kd"))
    assert "break-even-streets-demo" not in [drawing.stem.name for drawing in draw(tree, tmp_path)]
    tree.scored(cell("cwd", "iteration-400"))
    tree.expect(cell("mgd", "iteration-400"))
    assert "break-even-streets-demo" in [drawing.stem.name for drawing in draw(tree, tmp_path)]


def test_the_break_even_figure_marks_limits_costs_and_bounds(tree):
    for budget in ("compute-200", "compute-800"):
        tree.scored(cell("kd", budget), miou=0.4 if budget == "compute-200" else 0.5)
    tree.scored(cell("cwd", "compute-800"), miou=0.3)
    tree.scored(cell("mgd", "compute-800"), miou=0.45)
    tree.expect(cell("fitnet", "compute-800"))
    study = collect(tree.root, tree.cells)
    summaries = summarise(study.rows)
    where = ("streets", "demo")
    figure = break_even_figure.draw(PairResults(study, summaries, break_even(summaries, *where), *where))
    (axes,) = figure.axes
    assert {text.get_text() for text in axes.texts} == {"student alone", "kd 1.62", "× 1 missing"}
    marks = [line.get_marker() for line in axes.lines]
    assert [mark for mark in marks if mark in ("o", CARETLEFTBASE, CARETRIGHTBASE)] == [CARETLEFTBASE, "o"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cwd", "mgd", "fitnet"]


FIGURE = '''"""How many cells each method has."""
from matplotlib.figure import Figure
TITLE, CAPTION = "Cells of each method", "One bar per method."
def draw(results):
    figure = Figure(figsize=(3, 2))
    figure.subplots().barh(results.methods, [sum(s.first.method == m for s in results.summaries) for m in results.methods])
    return figure
'''
USE = """
import json, sys
from pathlib import Path
from isoclock.grid.cells import Cell
from isoclock.report import build_report
page = build_report(Path(sys.argv[1]), [Cell.parse(path) for path in json.loads(sys.argv[2])], "demo", Path(sys.argv[3]))
"""


def test_a_file_is_a_figure(package_copy, tree, tmp_path):
    """It is on the page with its title and caption, after the others; its files are named as it is."""
    for method in ("none", "kd"):
        tree.profile(method)
        tree.scored(cell(method))
    (package_copy / "report" / "figures" / "cell_counts.py").write_text(FIGURE)
    out = tmp_path / "report"
    command = [sys.executable, "-c", USE, str(tree.root), json.dumps([one.path for one in tree.cells]), str(out)]
    subprocess.run(command, check=True)
    page = (out / "report.html").read_text()
    assert page.index("Cost of an iteration, measured") < page.index("Cells of each method") < page.index("One bar per")
    assert (out / "figures" / "cell-counts-streets-demo.pdf").is_file()
