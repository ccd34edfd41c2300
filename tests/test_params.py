"""Mistakes that stand in one entry or one file of params/: each is one line that names file, key and value."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tiny_study import edit

from isoclock.checks import load_params
from isoclock.errors import EXIT_USER_ERROR, ParamsError
from isoclock.params import read_params

REPOSITORY = Path(__file__).parent.parent / "params"
COMPUTE = "protocol: compute\n    yardstick: kd\n    iterations: 240\n"
MISTAKES = {
    "unknown key": ("methods.yaml", "    temperature: 1.0\n", "    temperature: 1.0\n  lambda: 3\n", ["kd.lambda", "3", "unknown key"]),
    "unknown top key": ("budgets.yaml", "\nbudgets:\n", "\nprofiles: 3\nbudgets:\n", ["profiles", "unknown key"]),
    "wrong type": ("training.yaml", "batch: 8                       # images", "batch: eight", ["batch", "'eight'"]),
    "half an image": ("training.yaml", "batch: 8                       # images", "batch: 7.5", ["batch", "7.5"]),
    "no crop of one number": ("training.yaml", "crop: [64, 128]", "crop: [64]", ["streets", "crop"]),
    "negative rate": ("training.yaml", "    lr: 0.05\n    iterations", "    lr: -0.05\n    iterations", ["streets.teacher.lr", "-0.05"]),
    "rate that is no number": ("training.yaml", "    lr: 0.05\n    iterations", "    lr: .nan\n    iterations", ["streets.teacher.lr", "nan"]),
    "share above 1": ("training.yaml", "flip: 0.5                      #", "flip: 1.5  #", ["flip", "1.5"]),
    "floor above the rate": ("training.yaml", "    lr: 0.05\n    iterations", "    lr: 0.00001\n    iterations", ["streets.teacher", "min_lr", "above lr"]),
    "scale the wrong way round": ("training.yaml", "scale: [0.5, 2.0]              #", "scale: [2.0, 0.5]  #", ["scale", "[2.0, 0.5]"]),
    "unknown precision": ("training.yaml", "precision: bf16\n    channels_last: true\n    workers: 0", "precision: fp16\n    channels_last: true\n    workers: 0", ["precision", "'fp16'", "'bf16'"]),
    "shared and own": ("training.yaml", "    lr: 0.05\n    iterations", "    lr: 0.05\n    batch: 4\n    iterations", ["streets.teacher.batch", "4", "also under shared", "8"]),
    "a role that is none": ("training.yaml", "  teacher:\n    lr: 0.05\n", "  assistant: {}\n  teacher:\n    lr: 0.05\n", ["streets.assistant", "unknown key"]),
    "a student with iterations": ("training.yaml", "  student:\n    lr: 0.05\n", "  student:\n    iterations: 3\n    lr: 0.05\n", ["streets.student.iterations", "planned"]),
    "a teacher without": ("training.yaml", "    iterations: 700\n", "", ["streets.teacher.iterations", "missing"]),
    "two ways to say a budget": ("budgets.yaml", f"compute-240:\n    {COMPUTE}", f"compute-240:\n    {COMPUTE}    anchor_steps: 100\n", ["budgets.compute-240", "two ways"]),
    "no way to say a budget": ("budgets.yaml", f"compute-240:\n    {COMPUTE}", "compute-240:\n    protocol: compute\n", ["budgets.compute-240", "anchor_steps, or yardstick"]),
    "iterations with a yardstick": ("budgets.yaml", "iteration-240:\n    protocol: iteration\n", "iteration-240:\n    protocol: iteration\n    yardstick: kd\n", ["budgets.iteration-240", "nothing else"]),
    "unknown protocol": ("budgets.yaml", f"compute-240:\n    {COMPUTE}", "compute-240:\n    protocol: hours\n", ["budgets.compute-240.protocol", "'hours'"]),
    "no iterations": ("budgets.yaml", "iteration-240:\n    protocol: iteration\n    iterations: 240\n", "iteration-240:\n    protocol: iteration\n    iterations: 0\n", ["budgets.iteration-240.iterations", "0"]),
    "too few windows": ("budgets.yaml", "windows: 9 ", "windows: 2 ", ["profile.windows", "2"]),
    "negative weight": ("methods.yaml", "    kd: 1.0\n", "    kd: -1.0\n", ["kd.weights.kd", "-1.0"]),
    "infinite weight": ("methods.yaml", "    kd: 1.0\n", "    kd: .inf\n", ["kd.weights.kd", "inf"]),
    "weight of a term that is none elsewhere": ("methods.yaml", "    streets:\n      mgd: 2.56e-3\n", "    streets:\n      mdg: 2.56e-3\n", ["mgd", "weights_for.streets.mdg"]),
    "missing provenance": ("datasets.yaml", "  train: train\n  val: val\n  provenance:\n    \"*\": ours\n\ncamvid", "  train: train\n  val: val\n\ncamvid", ["streets.provenance", "required"]),
    "one value without": ("methods.yaml", "    weights: \"published: winycg/CIRKD@2d8ad0f train_scripts (Cityscapes and ADE20K)\"\n", "", ["kd", "weights.kd has no provenance"]),
    "provenance that is none": ("methods.yaml", "method: none\n  implementation: reference\n  params: {}\n  weights: {}\n  provenance:\n    \"*\": ours", "method: none\n  implementation: reference\n  params: {}\n  weights: {}\n  provenance:\n    \"*\": a paper", ["none", "'a paper'", "published: <source>"]),
    "provenance of nothing": ("methods.yaml", "    projector: conv\n  weights:\n    fitnet: 10.0\n  provenance:\n", "    projector: conv\n  weights:\n    fitnet: 10.0\n  provenance:\n    colour: ours\n", ["fitnet", "colour", "does not have"]),
    "provenance that is no mapping": ("training.yaml", "  student:\n    lr: 0.05\n    threads: 1                     # so that two cells train side by side on two cores\n    evaluations: 2\n    provenance:\n      \"*\": ours\n", "  student:\n    lr: 0.05\n    threads: 1\n    evaluations: 2\n    provenance: ours\n", ["streets.student.provenance", "'ours'", "mapping"]),
    "duplicate key": ("methods.yaml", "kd:\n  method: kd\n  implementation: reference\n", "kd:\n  method: kd\n  method: cwd\n  implementation: reference\n", ["line", "'method' is given twice"]),
    "duplicate entry": ("methods.yaml", "\nfitnet:\n", "\nkd:\n", ["line", "'kd' is given twice"]),
    "broken YAML": ("methods.yaml", "kd:\n  method: kd\n", "kd:\n  method: [kd\n", ["methods.yaml", "line"]),
    "a template left in": ("methods.yaml", "method: kd\n", "method: {{method}}\n", ["methods.yaml", "line"]),
    "a control character": ("methods.yaml", "method: kd\n", "method: k\x07d\n", ["methods.yaml", "not valid YAML"]),
    "an entry that is no mapping": ("methods.yaml", "\nfitnet:\n", "\nextra: 3\nfitnet:\n", ["extra", "3"]),
    "a grid with a seed twice": ("grids/demo.yaml", "seeds: [0]", "seeds: [0, 0]", ["blocks.0.seeds", "0 is listed twice"]),
    "a grid with a seed that is none": ("grids/demo.yaml", "seeds: [0]", "seeds: [-1]", ["blocks.0.seeds.0", "-1"]),
    "a grid without methods": ("grids/demo.yaml", "methods: [none, kd, fitnet, cwd, mgd]", "methods: []", ["blocks.0.methods"]),
    "a grid with a name that is a path": ("grids/demo.yaml", "methods: [none, kd, fitnet, cwd, mgd]", "methods: [../kd]", ["blocks.0.methods.0", "'../kd'"]),
    "a grid with a key that is none": ("grids/demo.yaml", "    seeds: [0]", "    seeds: [0]\n    seed: 1", ["blocks.0.seed", "unknown key"]),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the repository's params/."""
    shutil.copytree(REPOSITORY, tmp_path / "params")
    return tmp_path / "params"


def problems(folder: Path) -> list[str]:
    with pytest.raises(ParamsError) as caught:
        load_params(folder)
    return caught.value.problems


def test_the_repositorys_own_params_are_in_order(folder: Path) -> None:
    params = load_params(folder)
    assert "demo" in params.grids
    assert params.recipe("streets", "teacher").iterations == 700
    assert params.method("mgd").on("streets").weights["mgd"] == 2.56e-3


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_a_line_with_file_key_and_value(folder: Path, mistake: str) -> None:
    file, old, new, told = MISTAKES[mistake]
    edit(folder / file, old, new)
    found = problems(folder)
    assert all("\n" not in problem for problem in found)
    matching = [problem for problem in found if all(part in problem for part in told)]
    assert matching, found
    assert all(problem.startswith(str(folder / file)) for problem in found), found


def test_several_problems_are_told_at_once(folder: Path) -> None:
    for mistake in ("unknown key", "negative weight", "unknown protocol", "a grid without methods"):
        file, old, new, _ = MISTAKES[mistake]
        edit(folder / file, old, new)
    found = problems(folder)
    assert len(found) == 4
    assert {Path(problem.split(": ")[0]).name for problem in found} == {"methods.yaml", "budgets.yaml", "demo.yaml"}


def test_no_problem_is_told_twice(folder: Path) -> None:
    edit(folder / "datasets.yaml", "size: [180, 240] ", "size: [1, 2, 3] ")
    (folder / "models.yaml").write_text("models: [", encoding="utf-8")
    found = problems(folder)
    assert len(found) == len(set(found))
    assert sum("models.yaml" in problem for problem in found) == 1


@pytest.mark.parametrize("file", ["datasets.yaml", "models.yaml", "training.yaml", "methods.yaml", "budgets.yaml"])
@pytest.mark.parametrize("how", ["missing", "latin", "a folder"])
def test_a_file_that_cannot_be_read_is_named(folder: Path, file: str, how: str) -> None:
    path = folder / file
    content = path.read_bytes()
    path.unlink()
    if how == "latin":
        path.write_bytes(content + "# Müller".encode("latin-1"))
    elif how == "a folder":
        path.mkdir()
    expected = {"missing": "no such file", "latin": "not UTF-8", "a folder": "cannot be read"}[how]
    told = [problem for problem in problems(folder) if problem.startswith(f"{path}: {expected}")]
    assert len(told) == 1


@pytest.mark.parametrize("file", ["datasets.yaml", "models.yaml", "training.yaml", "methods.yaml", "budgets.yaml", "grids/demo.yaml"])
@pytest.mark.parametrize("content", ["", "3", "[1, 2]", "a: 1\n---\nb: 2\n", "- &x [*x]\n", "? [a]\n: 1\n"])
def test_nonsense_is_never_a_traceback(folder: Path, file: str, content: str) -> None:
    (folder / file).write_text(content, encoding="utf-8")
    try:
        load_params(folder)
    except ParamsError as error:
        assert all("\n" not in problem for problem in error.problems)
        assert all(str(folder) in problem for problem in error.problems)


def test_no_folder_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="run isoclock where Snakefile and params/ lie"):
        read_params(tmp_path / "params")


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda params: params.dataset("x"), r"datasets\.yaml: there is no data set 'x'; there are: camvid"),
        (lambda params: params.model("x"), r"models\.yaml: there is no model 'x'; there are: psp-"),
        (lambda params: params.pair("x"), r"models\.yaml: there is no pair 'x'; there are: r10"),
        (lambda params: params.method("x"), r"methods\.yaml: there is no method 'x'; there are: "),
        (lambda params: params.budget("x"), r"budgets\.yaml: there is no budget 'x'; there are: "),
        (lambda params: params.grid("x"), r"grids: there is no grid 'x'; there are: .*demo"),
        (lambda params: params.recipe("camvid2", "student"), r"training\.yaml: there is no recipe 'camvid2/student'"),
    ],
)
def test_asking_for_what_is_not_there(folder: Path, ask: object, told: str) -> None:
    params = load_params(folder)
    with pytest.raises(ParamsError, match=told):
        ask(params)  # type: ignore[operator]


def test_an_entry_cannot_be_changed(folder: Path) -> None:
    budget = load_params(folder).budget("iteration-240")
    with pytest.raises(ValueError, match="frozen"):
        budget.iterations = 3


def test_the_exit_status_of_a_users_mistake_is_2() -> None:
    assert EXIT_USER_ERROR == 2
    with pytest.raises(ValueError, match="at least one"):
        ParamsError([])
