"""The paper's experiments as grids: each is there at full size and tiny, and the tiny ones go all the way."""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path

import pytest
import yaml
from clone import ROOT, Clone

from isoclock.cli.main import main
from isoclock.grid.cells import cells
from isoclock.grid.jobs import GridJobs
from isoclock.grid.layout import Layout
from isoclock.methods import TUNED, card, cards
from isoclock.params.check import load_params
from tiny_study import edit

NAMES = ("figure1", "figure2", "figure3", "tables", "tuned", "bare-terms")


@pytest.mark.parametrize("name", NAMES)
def test_a_grid_is_a_study_of_three_seeds_and_has_a_tiny_version(name: str) -> None:
    params = load_params(ROOT / "params")
    assert params.grid(name).study
    assert {cell.seed for cell in cells(params, name)} == {0, 1, 2}
    assert not params.grid(f"{name}-tiny").study
    full, tiny = ("r101c-r18c-compiled", "r10t-tiny-folded") if name == "tuned" else ("r101c-r18c", "r10t-tiny")
    assert {cell.pair for cell in cells(params, name)} == {full}
    assert {cell.pair for cell in cells(params, f"{name}-tiny")} == {tiny}


@pytest.mark.parametrize("name", NAMES)
def test_a_grid_is_also_there_for_torchvisions_weights(name: str) -> None:
    params = load_params(ROOT / "params")
    found = {(cell.dataset, cell.pair, cell.method, cell.budget, cell.seed) for cell in cells(params, f"{name}-b")}
    assert found == {
        (cell.dataset, cell.pair.replace("r101c-r18c", "r101-r18"), cell.method, cell.budget, cell.seed)
        for cell in cells(params, name)
    }
    for model in ("psp-r101", "psp-r18"):
        assert params.model(model).params == params.model(f"{model}c").params | {"stem": "plain"}


@pytest.mark.parametrize("name", NAMES)
def test_teachers_of_a_study_pass_the_same_gate_with_either_weights(name: str) -> None:
    params = load_params(ROOT / "params")
    demanded = params.grid(name).teacher_miou_at_least
    assert params.grid(f"{name}-b").teacher_miou_at_least == {
        dataset: {pair.replace("r101c-r18c", "r101-r18"): miou for pair, miou in pairs.items()}
        for dataset, pairs in demanded.items()
    }
    for grid in (name, f"{name}-b"):
        gates = GridJobs.of_grid(params, grid, Layout()).gates
        assert set(gates) == {(cell.dataset, cell.pair) for cell in cells(params, grid)}


def test_the_teacher_runs_eagerly_in_figures_and_as_fast_as_possible_in_tuned() -> None:
    params = load_params(ROOT / "params")
    found = {
        name: {params.student_recipe(cell.dataset, cell.pair).teacher_inference for cell in cells(params, name)}
        for name in (*NAMES, "tuned-tiny")
    }
    assert found == {name: {"eager"} for name in NAMES} | {"tuned": {"compiled"}, "tuned-tiny": {"folded"}}


def test_figure_1_has_every_published_method_and_tuned_has_those_with_two_implementations_twice() -> None:
    params = load_params(ROOT / "params")
    methods = {cell.method for cell in cells(params, "figure1")}
    known = [params.method(method).method for method in methods - {"fitnet"}]  # and fitnet-official
    assert sorted(known) == sorted(name for name, facts in cards().items() if facts.published or name == "none")
    twice = {method for method in methods if TUNED in card(params.method(method).method).implementations}
    twice -= {"skd-official"}  # `skd` tunes the pair term of the port only, which this entry does not have
    assert {cell.method for cell in cells(params, "tuned")} == methods | {f"{method}.tuned" for method in twice}


def test_figures_have_official_bundles_and_bare_terms_are_alone() -> None:
    """But for plain feature KD, which is one of the two methods that the study is about, and is in both forms."""
    params = load_params(ROOT / "params")
    for name in NAMES:
        methods = {cell.method.removesuffix(".tuned") for cell in cells(params, name)}
        if name == "bare-terms":
            assert not {method for method in methods if params.method(method).extras or "official" in method}
        else:
            assert {method for method in methods if f"{method}-official" in params.methods} <= {"fitnet"}


DATASETS = {"figure1": ["cityscapes", "ade20k"], "figure2": ["cityscapes", "ade20k"], "tables": ["cityscapes", "ade20k"],
            "tuned": ["cityscapes", "ade20k"], "figure3": ["cityscapes", "cityscapes-extra"],
            "bare-terms": ["cityscapes"]}  # fmt: skip
FEW = ["none", "kd", "fitnet", "cirkd-official", "mgd-official"]  # no KD, the canonical ones, two complex ones


@pytest.mark.parametrize("name", NAMES)
def test_a_grid_has_every_combination(name: str) -> None:
    params = load_params(ROOT / "params")
    found = cells(params, name)
    parts = [{getattr(cell, part) for cell in found} for part in ("dataset", "pair", "method", "budget", "seed")]
    assert len(found) == len(set(found)) == math.prod(map(len, parts))
    assert parts[0] == set(DATASETS[name])


def test_figure_2_has_budgets_of_one_to_sixteen() -> None:
    params = load_params(ROOT / "params")
    found = cells(params, "figure2")
    assert list(dict.fromkeys(cell.method for cell in found)) == FEW
    budgets = [params.budget(name) for name in dict.fromkeys(cell.budget for cell in found)]
    assert {(budget.protocol, budget.yardstick) for budget in budgets} == {("compute", "kd")}
    assert [budget.iterations for budget in budgets] == [40_000 * times for times in (1, 2, 4, 8, 16)]


def test_figure_3_adds_images_without_labels_and_nothing_else() -> None:
    params = load_params(ROOT / "params")
    assert list(dict.fromkeys(cell.method for cell in cells(params, "figure3"))) == FEW
    labelled, extra = params.dataset("cityscapes"), params.dataset("cityscapes-extra")
    assert (labelled.unlabelled, extra.unlabelled) == (None, "train_extra")
    assert (labelled.train, labelled.val, labelled.root) == (extra.train, extra.val, extra.root)
    without, mixed = (params.recipe(name, "student") for name in ("cityscapes", "cityscapes-extra"))
    assert (without.unlabelled_per_batch, mixed.unlabelled_per_batch) == (0, mixed.batch / 2)
    assert without.crop == mixed.crop


@pytest.mark.parametrize(
    "name",
    [name if name == "figure3" else pytest.param(name, marks=pytest.mark.test_all) for name in NAMES],
)
def test_what_a_grid_takes_is_reported_before_anything_is_spent(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params").symlink_to(ROOT / "params")
    assert main(["plan", "--dry", "--grid", name, "--tflops", "100", "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    found = cells(load_params(), name)
    assert output["stages"]["student"]["jobs"] == len(found)
    assert output["total"]["hours"] > 0
    hours = {row["where"].split("/")[0]: row["hours"] for row in output["rows"] if row["stage"] == "student"}
    assert set(hours) == set(DATASETS[name])
    assert all(hours.values())
    assert not Path("results").exists()


def shrink(params: Path) -> None:
    """Images, crops and teachers of a size at which a job is over as soon as it has started."""
    path = params / "training.yaml"
    text = re.sub(r"crop: \[64, 128\]", "crop: [32, 64]", path.read_text())
    text = re.sub(r"iterations: 320", "iterations: 3", text)
    path.write_text(re.sub(r"evaluations: 2", "evaluations: 1", text))
    path = params / "datasets.yaml"
    path.write_text(
        path.read_text().replace("labelled_images: 60 ", "labelled_images: 8 ").replace("images: 60\n", "images: 8\n")
    )
    path = params / "budgets.yaml"
    edit(path, "window_s: 0.2", "window_s: 1.0e-6")
    edit(path, "min_windows: 9", "min_windows: 3")
    edit(path, "max_s: 5.0", "max_s: 1.0e-6")
    edit(path, "sustained_s: 1.0", "sustained_s: 1.0e-6")


@pytest.mark.slow
@pytest.mark.timeout(900)  # some thirty processes that each load torch, on a machine that may have other work
@pytest.mark.parametrize("names", [("figure3",), pytest.param(NAMES, marks=pytest.mark.test_all)], ids="+".join)
def test_the_tiny_grids_go_all_the_way(names: tuple[str, ...], tmp_path: Path, commands: Path) -> None:
    """In one run: a grid of all their blocks, then the report of each."""
    from isoclock.data.streets.make import make_streets

    clone = Clone.make(tmp_path / "study", commands)
    shutil.rmtree(clone.folder / "params")
    shutil.copytree(ROOT / "params", clone.folder / "params")
    shrink(clone.folder / "params")
    grids = clone.folder / "params" / "grids"
    blocks = [block for name in names for block in yaml.safe_load((grids / f"{name}-tiny.yaml").read_text())["blocks"]]
    (grids / "together.yaml").write_text(yaml.safe_dump({"about": "All of them.", "study": False, "blocks": blocks}))
    make_streets(clone.folder / "data" / "streets", train=16, val=2, size=(64, 128))
    clone.snakemake("--config", "grid=together", "--", "evaluations")
    drawn = {}
    for name in names:
        clone.run("isoclock", "report", "--grid", f"{name}-tiny")
        folder = clone.folder / "results" / "report" / f"{name}-tiny"
        assert "missing" not in (folder / "comparison.md").read_text()
        drawn[name] = {path.stem.split("-streets")[0] for path in (folder / "figures").glob("*.svg")}
    assert drawn == {name: FIGURES[name] for name in names}
    teachers = {path.parts[-3] for path in clone.folder.glob("results/teacher/*/*/record.json")}
    assert teachers - {"streets"} == {"streets-semi"}, "streets-few has those of streets-semi"
    record = json.loads(
        (clone.folder / "results/student/streets-semi/r10t-tiny/kd/compute-4/0/record.json").read_text()
    )
    assert record["epochs"] == {"labelled": 4 * 2 / 8, "unlabelled": 4 * 2 / 8}


FIGURES = {
    "figure1": {"matched", "cost-shares", "break-even"},
    "figure2": {"cost-shares", "miou-budget", "break-even"},
    "figure3": {"scores", "cost-shares", "further-images"},
    "tables": {"cost-shares", "miou-budget", "break-even"},
    "tuned": {"scores", "cost-shares", "break-even", "implementations"},
    "bare-terms": {"matched", "cost-shares", "break-even"},
}
