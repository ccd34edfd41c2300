from __future__ import annotations

import pytest

from isoclock.errors import ParamsError, UserError
from isoclock.grid.cells import Cell, cells, profiles_needed
from isoclock.grid.layout import Layout
from tiny_study import TinyStudy

CELL = Cell("streets", "tiny", "kd", "compute-6", 3)


def test_a_cell_and_its_path_are_the_same_thing() -> None:
    assert CELL.path == "streets/tiny/kd/compute-6/3"
    assert Cell.parse(CELL.path) == CELL
    assert Cell.parse(f"/{CELL.path}/") == CELL
    assert Cell(**CELL.as_dict()) == CELL


@pytest.mark.parametrize(
    "path", ["", "streets/tiny/kd/compute-6", "a/b/c/d/e", "a/b/c/d/-1", "a/b/c/d/1.0", "a/b/c/d/²", "a/b/c/d/e/1"]
)
def test_another_form_is_a_user_error(path: str) -> None:
    with pytest.raises(UserError, match="dataset/pair/method/budget/seed"):
        Cell.parse(path)


def test_cells_come_in_order_and_once(empty_study: TinyStudy) -> None:
    grid = empty_study.folder / "params" / "grids" / "toy.yaml"
    block = grid.read_text().partition("blocks:\n")[2]
    grid.write_text(grid.read_text() + block.replace("seeds: [0]", "seeds: [0, 1]"))
    found = cells(empty_study.params, "toy")
    assert len(found) == len(set(found)) == 5 * 2 * 2
    assert found[:3] == [
        Cell("streets", "tiny", "none", "iteration-6", 0),
        Cell("streets", "tiny", "none", "compute-6", 0),
        Cell("streets", "tiny", "kd", "iteration-6", 0),
    ]
    assert [cell.seed for cell in found] == [0] * 10 + [1] * 10


def test_an_unknown_grid_is_reported_with_the_known_ones(empty_study: TinyStudy) -> None:
    with pytest.raises(ParamsError, match="unknown grid 'nope'; choose from toy"):
        cells(empty_study.params, "nope")


def test_a_yardstick_outside_the_grid_is_profiled_too(empty_study: TinyStudy) -> None:
    empty_study.edit("grids/toy.yaml", "[none, kd, fitnet, cwd, mgd]", "[none]")
    assert profiles_needed(empty_study.params, "toy") == [("streets", "tiny", "none"), ("streets", "tiny", "kd")]


def test_no_two_things_lie_in_one_place() -> None:
    layout = Layout()
    places = [
        layout.prepared("streets"),
        layout.teacher("streets", "small"),
        layout.profile("streets", "tiny", "kd"),
        layout.accepted_budget("streets", "tiny", "compute-6"),
        layout.plan("streets", "tiny", "kd", "compute-6"),
        layout.student(CELL),
        layout.evaluation(CELL),
        layout.report("toy"),
        layout.teacher_run("streets", "small"),
        layout.student_run(CELL),
        layout.accepted_record("profile", "streets", "tiny", "kd"),
        layout.accepted_record("budget", "streets", "tiny", "compute-6"),
        layout.stamp("student", "streets", "tiny", "kd"),
        layout.stamp("grid", "toy"),
    ]
    assert len(set(places)) == len(places)
    assert layout.stamp("student", "streets", "tiny", "v1.2").name == "v1.2.json"
    assert all(layout.runs in place.parents for place in places[8:12]), "what survives a rerun lies under runs/"
