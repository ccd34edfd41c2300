"""Grids whose weights are tuned: their sweep, the chosen names, and mistakes."""

from __future__ import annotations

import pytest
import yaml

from isoclock.budget.forecast import forecast
from isoclock.errors import ParamsError
from isoclock.grid.cells import Cell, cells, profiles_needed, same_training
from isoclock.params.schema import TunedWeights
from isoclock.report.tuning import choose_weights, write_weights
from tiny_study import TinyStudy, edit
from tuned_study import HELD_OUT, add_tuned_grid, write_sweep


@pytest.fixture
def study(empty_study: TinyStudy) -> TinyStudy:
    add_tuned_grid(empty_study.folder / "params")
    return empty_study


@pytest.fixture
def tuned(study: TinyStudy) -> TinyStudy:
    """A study whose weights are chosen: `none` with factor 2, `kd` with 1."""
    write_sweep(study)
    write_weights(study.params, "weighed", choose_weights(study.params, "weighed", study.layout))
    return study


def test_a_sweep_gives_every_method_the_same_runs(study: TinyStudy) -> None:
    params = study.params
    assert cells(params, "weighed.sweep") == [
        Cell(HELD_OUT, "tiny", name, "compute-6", 0)
        for method in ("none", "kd")
        for name in (f"{method}.x0.5", method, f"{method}.x2")
    ]
    assert profiles_needed(params, "weighed.sweep") == [(HELD_OUT, "tiny", "none"), (HELD_OUT, "tiny", "kd")]
    assert params.grid("weighed.sweep").study == params.grid("weighed").study


def test_a_factor_is_of_an_entrys_own_weights(study: TinyStudy) -> None:
    study.edit("methods.yaml", "weights: {fitnet: 1.0}\n", "weights: {fitnet: 3.0}\n  extras: [kd]\n")
    study.edit("methods.yaml", "weights: {cwd: 3.0}\n", "weights: {cwd: 3.0}\n  weights_for: {streets: {cwd: 5.0}}\n")
    params = study.params
    assert [part.weights for part in params.method_parts("fitnet.x0.5", "streets")] == [{"fitnet": 1.5}, {"kd": 1.0}]
    assert params.method_parts("cwd.x2", HELD_OUT)[0].weights == {"cwd": 10.0}, "those of the whole data set"
    assert params.method_parts("mgd.tuned.x2", "streets")[0].implementation == "tuned"
    assert params.method_parts("fitnet", "streets")[0].weights == {"fitnet": 3.0}


def test_of_none_it_is_of_the_learning_rate(study: TinyStudy) -> None:
    params = study.params
    plain = params.student_recipe("streets", "tiny")
    assert params.student_recipe(HELD_OUT, "tiny", "none.x0.5") == plain.model_copy(update={"lr": plain.lr / 2})
    assert params.student_recipe("streets", "tiny", "kd.x2") == plain
    with pytest.raises(ParamsError, match=r"streets\.student\.min_lr: 0.0001: above the lr of none\.x0\.001, 2e-05"):
        params.student_recipe("streets", "tiny", "none.x0.001")


def test_a_data_set_with_a_part_held_out(study: TinyStudy) -> None:
    study.edit("datasets.yaml", "  val: val\n", "  val: val\n  images: {train: 5, val: 2}\n")
    params = study.params
    found = params.dataset(HELD_OUT)
    assert (found.train, found.val, found.held_out, found.held_out_seed) == ("train", "train", 0.4, 1)
    assert found.images == {"train": 5}, "those of val are not read"
    assert found.teacher_from == params.teacher_dataset(HELD_OUT) == "streets"
    assert params.recipe(HELD_OUT, "student") == params.recipe("streets", "student")
    with pytest.raises(ParamsError, match=f"{HELD_OUT} has no teachers of its own; use those of streets"):
        params.recipe(HELD_OUT, "teacher")


def test_nothing_is_held_out_of_a_data_set_that_scores_a_part_of_train(study: TinyStudy) -> None:
    study.edit("datasets.yaml", "  val: val\n", "  val: train\n  held_out: 0.2\n")
    assert study.params.dataset("streets").held_out == 0.2
    with pytest.raises(
        ParamsError, match=r"streets\.held_out: 0\.2: a part of train is scored already, so there is no " + HELD_OUT
    ):
        study.params.dataset(HELD_OUT)


def test_a_grid_uses_what_was_chosen_for_it(tuned: TinyStudy) -> None:
    params = tuned.params
    assert [cell.method for cell in cells(params, "weighed")] == ["none.x2", "none.x2", "kd", "kd"]
    assert {cell.dataset for cell in cells(params, "weighed")} == {"streets"}
    assert {cell.method for cell in cells(params, "toy")} >= {"none", "kd"}, "other grids have their own weights"
    entry = params.tuned["weighed"]["streets", "tiny", "none"]
    assert (entry.factor, entry.weights, entry.lr) == (2.0, {}, 0.04)


def test_a_yardstick_with_a_factor_is_trained_once(study: TinyStudy) -> None:
    cell = Cell("streets", "tiny", "kd.x2", "compute-6", 0)
    assert same_training(study.params, cell) == [Cell("streets", "tiny", "kd.x2", "iteration-6", 0)]
    assert same_training(study.params, Cell("streets", "tiny", "none.x2", "compute-6", 0)) == []


def test_before_a_choice_the_grid_names_the_command(study: TinyStudy) -> None:
    with pytest.raises(
        ParamsError, match=r"tuned/weighed\.yaml: streets\.tiny\.none: missing.*run `isoclock tune weighed`"
    ):
        cells(study.params, "weighed")
    assert cells(study.params, "toy"), "other grids are not affected"


CHANGES = {
    "a weight": (
        "methods.yaml",
        "weights: {kd: 1.0}",
        "weights: {kd: 3.0}",
        r"kd\.weights: .*1\.0.*params/ has .*3\.0",
    ),
    "the learning rate": (
        "training.yaml",
        "  student:\n    lr: 0.02",
        "  student:\n    lr: 0.03",
        r"none\.lr: 0\.04: .*0\.06",
    ),
    "how it is tuned": ("grids/weighed.yaml", "held_out_seed: 1", "held_out_seed: 2", r"none\.tune: .*again"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_after_a_change_the_weights_are_chosen_again(tuned: TinyStudy, change: str) -> None:
    *edited, expected = CHANGES[change]
    tuned.edit(*edited)
    with pytest.raises(ParamsError, match=expected):
        cells(tuned.params, "weighed")


MISTAKES = {
    "no tune": ("tune:\n", "tuna:\n", "weighed.yaml: tuna: unknown key"),
    "a share of all": ("held_out: 0.4", "held_out: 1.0", "tune.held_out: 1.0"),
    "no factor 1": ("[0.5, 1.0, 2.0]", "[0.5, 2.0]", "must be 1, which is the entry's own weight, and others"),
    "a factor twice": ("[0.5, 1.0, 2.0]", "[0.5, 1.0, 1]", "listed twice"),
    "a long factor": ("[0.5, 1.0, 2.0]", "[0.1234567, 1.0]", "0.1234567 cannot be part of a name"),
    "an unknown budget": ("budget: compute-6", "budget: compute-7", "tune.budget: unknown budget 'compute-7'"),
    "equal iterations": ("budget: compute-6", "budget: iteration-6", "choose a compute budget"),
    "a derived method": ("[none, kd]", "[none, kd.x2]", "blocks[0].methods: kd.x2: a derived name in a grid with tune"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(study: TinyStudy, mistake: str) -> None:
    old, new, expected = MISTAKES[mistake]
    edit(study.folder / "params/grids/weighed.yaml", old, new)
    with pytest.raises(ParamsError) as caught:
        _ = study.params
    assert any(expected in problem for problem in caught.value.problems), caught.value.problems


def test_weights_tuned_needs_tune(study: TinyStudy) -> None:
    path = study.folder / "params/grids/weighed.yaml"
    path.write_text(path.read_text().partition("tune:\n")[0])
    with pytest.raises(ParamsError, match="weights: tuned needs tune"):
        _ = study.params
    path.unlink()
    with pytest.raises(ParamsError, match=r"toy\.yaml: tune: missing, so it has no sweep"):
        cells(study.params, "toy.sweep")


def test_names_of_derived_things_are_taken(study: TinyStudy) -> None:
    study.edit("methods.yaml", "\ncwd:\n", "\ncwd.x2:\n")
    path = study.folder / "params/grids/weighed.yaml"
    path.rename(path.with_name("toy.sweep.yaml"))
    with pytest.raises(ParamsError) as caught:
        _ = study.params
    assert any("cwd.x2: names of this form are derived" in problem for problem in caught.value.problems)
    assert any("toy.sweep.yaml: a grid's name must not end in .sweep" in problem for problem in caught.value.problems)


def test_a_grid_may_list_derived_names(study: TinyStudy) -> None:
    study.edit("grids/toy.yaml", "[none, kd, fitnet, cwd, mgd]", "[kd, kd.x0.1, mgd.tuned.x3]")
    study.edit("grids/toy.yaml", "[streets]", "[streets.held-out-0.2-seed-0]")
    assert len(cells(study.params, "toy")) == 6
    study.edit("grids/toy.yaml", "kd.x0.1", "kd.x0.10")
    with pytest.raises(ParamsError, match=r"unknown method 'kd\.x0\.10'"):
        _ = study.params


def test_a_damaged_file_is_one_line_for_each_mistake(tuned: TinyStudy) -> None:
    path = tuned.folder / "params/tuned/weighed.yaml"
    content = yaml.safe_load(path.read_text())
    content["streets"]["tiny"]["kd"] |= {"factor": -1.0, "faktor": 2.0}
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ParamsError) as caught:
        _ = tuned.params
    assert len(caught.value.problems) == 2
    assert all(problem.startswith(f"{path}: streets.tiny.kd.fa") for problem in caught.value.problems)


def test_the_provenance_names_grid_and_digest(tuned: TinyStudy) -> None:
    entry = tuned.params.tuned["weighed"]["streets", "tiny", "kd"]
    assert isinstance(entry, TunedWeights)
    grid, digest = entry.provenance["*"].removeprefix("tuned: ").split(", ")
    assert grid == "weighed"
    assert len(digest) == 12


def test_a_forecast_needs_no_choice(study: TinyStudy) -> None:
    found = forecast(study.params, "weighed", study.layout, tflops=1.0)
    assert sum(row.jobs for row in found.of("student")) == 4
    assert "without tuning, which --grid weighed.sweep forecasts" in found.notes
    sweep = forecast(study.params, "weighed.sweep", study.layout, tflops=1.0)
    assert [sum(row.jobs for row in sweep.of(stage)) for stage in ("profile", "student")] == [2, 6]
