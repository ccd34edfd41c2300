"""Every entry of params/methods.yaml, in all implementations, goes all the way: profile, plan, student, scores, report.

Half of each batch has no labels: what a method makes of that is tried on all of them.
"""

from __future__ import annotations

import shutil

import pytest
import torch
import yaml
from clone import ROOT

from isoclock.budget.plan import accept_budget, make_plan
from isoclock.budget.profile import profile_method
from isoclock.files import read_json, sha256_file, write_json
from isoclock.grid.cells import cells
from isoclock.methods import TUNED, card
from isoclock.params.check import load_params
from isoclock.report.collect import FINISHED, collect
from isoclock.runner.run import train_student
from isoclock.scoring.score import evaluate_trained
from isoclock.scoring.target import Target
from tiny_study import TinyStudy, edit, prepare_from_params

pytestmark = pytest.mark.filterwarnings("ignore:.*random weights")
ENTRIES = {
    name: entry["method"] for name, entry in yaml.safe_load((ROOT / "params" / "methods.yaml").read_text()).items()
}
FIRST = {method: name for name, method in reversed(ENTRIES.items())}
WHERE = ("streets", "tiny")


def variants(name: str) -> list[str]:
    """Names of an entry in a grid: itself, and `.tuned` where its method has that."""
    return [name, f"{name}.tuned"] if TUNED in card(ENTRIES[name]).implementations else [name]


def test_the_grid_lists_every_entry_of_a_published_method_in_all_implementations() -> None:
    """But for `maskd`, whose published pre-training alone takes hours; `maskd-short` is the same with a short one."""
    params = load_params(ROOT / "params")
    (block,) = params.grid("all-methods").blocks
    there = {name for name in ENTRIES if name != "maskd"}
    published = {name for name in there if card(ENTRIES[name]).published or name == "none"}
    assert {variant for name in published for variant in variants(name)} <= set(block.methods)
    assert set(block.methods) <= {variant for name in there for variant in variants(name)}


@pytest.fixture
def study(taught_study: TinyStudy) -> TinyStudy:
    """The tiny study with the project's own methods; weights for its own data sets are left out, it has one.

    Two of its five images have labels, and each batch has one of those and one without.
    """
    params = taught_study.folder / "params"
    edit(params / "datasets.yaml", "  val: val\n", "  val: val\n  labelled_images: 2\n")
    edit(params / "training.yaml", "  student:\n", "  student:\n    unlabelled_per_batch: 1\n")
    prepare_from_params(taught_study)
    record = taught_study.layout.teacher_files("streets", "small").record  # as if it was trained on these data
    digests = {"data": sha256_file(taught_study.layout.prepared_index("streets"))}
    content = read_json(record, "teacher")
    write_json(record, content | {"digests": content["digests"] | digests})
    shutil.copyfile(ROOT / "params" / "methods.yaml", params / "methods.yaml")
    entries = yaml.safe_load((params / "methods.yaml").read_text())
    for entry in entries.values():
        weights = entry.pop("weights_for", {})
        if "streets" in weights:
            entry["weights"] |= weights["streets"]
        if "pretrain_iterations" in entry["params"]:
            entry["params"]["pretrain_iterations"] = 3
        if "groups" in entry["params"]:
            entry["params"]["groups"] = 8  # which divides the tiny networks' channels
        entry["provenance"] = {"*": "ours"}
    (params / "methods.yaml").write_text(yaml.safe_dump(entries))
    edit(
        params / "budgets.yaml",
        "  iteration-6:\n    protocol: iteration\n    iterations: 6",
        "  iteration-6:\n    protocol: iteration\n    iterations: 2",
    )
    return taught_study


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if FIRST[method] == name else pytest.mark.test_all)
        for name, method in sorted(ENTRIES.items())
    ],
)
def test_an_entry_goes_all_the_way(study: TinyStudy, name: str) -> None:
    edit(study.folder / "params/grids/toy.yaml", "[none, kd, fitnet, cwd, mgd]", f"[{', '.join(variants(name))}]")
    edit(study.folder / "params/grids/toy.yaml", "[iteration-6, compute-6]", "[iteration-6]")
    params = study.params
    accept_budget(params, *WHERE, "iteration-6", study.layout)
    costs = {}
    for cell in cells(params, "toy"):
        costs[cell.method] = profile_method(params, *WHERE, cell.method, study.layout).cost.ratio
        make_plan(params, *WHERE, cell.method, cell.budget, study.layout, study=False)
        assert train_student(params, cell, study.layout) == "finished"
        assert evaluate_trained(Target.of_cell(params, cell, study.layout), torch.device("cpu")).miou is not None
        record = read_json(study.layout.student(cell) / "record.json", "student")
        assert record["epochs"] == {"labelled": 2 / 2, "unlabelled": 2 / 3}
        assert record["params"]["method"]["implementation"] == ("tuned" if ".tuned" in cell.method else "reference")
    found = collect(study.layout.results, cells(params, "toy"))
    assert {row.method: (row.status, row.cost_ratio) for row in found.rows} == {
        method: (FINISHED, cost) for method, cost in costs.items()
    }
