import pytest
from results_tree import cell

from isoclock.report.collect import collect
from isoclock.report.figures import draw_figures
from isoclock.report.summary import summarise


def draw(tree, folder):
    study = collect(tree.root, tree.cells, tree.audit)
    return draw_figures(study, summarise(study.rows), folder)


def test_every_figure_in_three_formats_and_the_same_bytes_twice(study_tree, tmp_path):
    drawings = draw(study_tree, tmp_path / "one")
    draw(study_tree, tmp_path / "two")
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert [drawing.stem.name.split("-streets")[0] for drawing in drawings] == ["matched", "cost-shares", "miou-budget"]
    assert len(names) == 9
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_one_budget_has_no_curve(tree, tmp_path):
    for method in ("none", "kd"):
        tree.profile(method)
        tree.scored(cell(method))
    assert [drawing.stem.name for drawing in draw(tree, tmp_path)] == [
        "matched-streets-demo",
        "cost-shares-streets-demo",
    ]


def test_nothing_to_draw_is_no_error(tree, tmp_path):
    tree.expect(cell())
    assert draw(tree, tmp_path) == []


@pytest.mark.parametrize("teacher", [0.47, 0.95])
def test_single_seed_with_a_near_and_a_far_teacher(tree, tmp_path, teacher):
    tree.teacher(miou=teacher)
    for budget in ("iteration-400", "compute-400", "compute-800"):
        tree.scored(cell("kd", budget))
    assert [drawing.stem.name.split("-")[0] for drawing in draw(tree, tmp_path)] == ["matched", "miou"]
