"""Mistakes within one entry or one file of params/: each is one line that names file, key and value."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from isoclock.errors import EXIT_USER_ERROR, ParamsError
from isoclock.params.check import load_params
from isoclock.params.load import read_params
from isoclock.params.recipes import ROLES
from tiny_study import TinyStudy, edit

REPOSITORY = Path(__file__).parents[2] / "params"
OURS = '    provenance: {"*": ours}\n'
LR = ("training.yaml", "lr: 0.02\n    iterations")
ITERATION = "iteration-6:\n    protocol: iteration\n    iterations: 6\n"
COMPUTE = "compute-6:\n    protocol: compute\n    yardstick: kd\n    iterations: 6\n"
METHODS = "[none, kd, fitnet, cwd, mgd]"
KD_PROVENANCE = 'weights: {kd: 1.0}\n  provenance: {"*": ours}\n'
# file, the valid text, the mistake in its place, what the line must contain
MISTAKES = {
    "unknown key": (
        "methods.yaml",
        "  weights: {kd: 1.0}\n",
        "  weights: {kd: 1.0}\n  lambda: 3\n",
        ["kd.lambda", "3", "unknown key"],
    ),
    "unknown section": ("budgets.yaml", "budgets:\n", "profiles: 3\nbudgets:\n", ["profiles", "unknown key"]),
    "wrong type": ("training.yaml", "batch: 2", "batch: two", ["batch", "'two'"]),
    "half an image": ("training.yaml", "batch: 2", "batch: 1.5", ["batch", "1.5"]),
    "a crop of one number": ("training.yaml", "crop: [32, 64]", "crop: [32]", ["streets", "crop"]),
    "negative rate": (*LR, "lr: -0.05\n    iterations", ["streets.teacher.lr", "-0.05"]),
    "rate that is no number": (*LR, "lr: .nan\n    iterations", ["streets.teacher.lr", "nan"]),
    "floor above the rate": (*LR, "lr: 0.00001\n    iterations", ["streets.teacher", "min_lr", "above lr"]),
    "share above 1": ("training.yaml", "flip: 0.5", "flip: 1.5", ["flip", "1.5"]),
    "scale the wrong way round": ("training.yaml", "scale: [0.5, 1.5]", "scale: [1.5, 0.5]", ["scale", "[1.5, 0.5]"]),
    "unknown precision": ("training.yaml", "precision: fp32", "precision: fp8", ["precision", "'fp8'", "'bf16'"]),
    "shared and own": (
        *LR,
        "lr: 0.02\n    batch: 4\n    iterations",
        ["streets.teacher.batch", "4", "also under shared", "2"],
    ),
    "a role that is none": (
        "training.yaml",
        "  teacher:\n",
        "  assistant: {}\n  teacher:\n",
        ["streets.assistant", "unknown key"],
    ),
    "a student with iterations": (
        "training.yaml",
        "  student:\n",
        "  student:\n    iterations: 3\n",
        ["streets.student.iterations", "planned"],
    ),
    "a teacher without": ("training.yaml", "    iterations: 6\n", "", ["streets.teacher.iterations", "missing"]),
    "two ways to say a budget": (
        "budgets.yaml",
        COMPUTE,
        f"{COMPUTE}    anchor_steps: 100\n",
        ["budgets.compute-6", "two ways"],
    ),
    "no way to say a budget": (
        "budgets.yaml",
        COMPUTE,
        "compute-6:\n    protocol: compute\n",
        ["budgets.compute-6", "anchor_steps, or yardstick"],
    ),
    "iterations with a yardstick": (
        "budgets.yaml",
        ITERATION,
        f"{ITERATION}    yardstick: kd\n",
        ["budgets.iteration-6", "nothing else"],
    ),
    "unknown protocol": (
        "budgets.yaml",
        "protocol: compute",
        "protocol: hours",
        ["budgets.compute-6.protocol", "'hours'"],
    ),
    "no iterations": (
        "budgets.yaml",
        ITERATION,
        ITERATION.replace("s: 6", "s: 0"),
        ["budgets.iteration-6.iterations", "0"],
    ),
    "too few windows": ("budgets.yaml", "windows: 3", "windows: 2", ["profile.demo.min_windows", "2"]),
    "negative weight": ("methods.yaml", "{kd: 1.0}", "{kd: -1.0}", ["kd.weights.kd", "-1.0"]),
    "infinite weight": ("methods.yaml", "{kd: 1.0}", "{kd: .inf}", ["kd.weights.kd", "inf"]),
    "weight elsewhere of a term that is none": (
        "methods.yaml",
        "{kd: 1.0}\n",
        "{kd: 1.0}\n  weights_for: {streets: {dk: 2.0}}\n",
        ["kd", "weights_for.streets.dk"],
    ),
    "missing provenance": ("methods.yaml", KD_PROVENANCE, "weights: {kd: 1.0}\n", ["kd.provenance", "required"]),
    "one value without": (
        "methods.yaml",
        KD_PROVENANCE,
        "weights: {kd: 1.0}\n  provenance: {method: ours, implementation: ours, params: ours}\n",
        ["kd", "weights.kd has no provenance"],
    ),
    "provenance that is none": (
        "methods.yaml",
        KD_PROVENANCE,
        'weights: {kd: 1.0}\n  provenance: {"*": a paper}\n',
        ["kd", "'a paper'", "published: <source>"],
    ),
    "provenance without a source": (
        "methods.yaml",
        KD_PROVENANCE,
        'weights: {kd: 1.0}\n  provenance: {"*": published}\n',
        ["kd", "'published'", "published: <source>"],
    ),
    "scaled without a formula": (
        "methods.yaml",
        KD_PROVENANCE,
        'weights: {kd: 1.0}\n  provenance: {"*": "published, scaled"}\n',
        ["kd", "'published, scaled'", "published, scaled: <formula>"],
    ),
    "provenance of nothing": (
        "methods.yaml",
        KD_PROVENANCE,
        'weights: {kd: 1.0}\n  provenance: {"*": ours, colour: ours}\n',
        ["kd", "colour", "does not have"],
    ),
    "provenance that is no mapping": (
        "training.yaml",
        "  student:\n    lr: 0.02\n" + OURS,
        "  student:\n    lr: 0.02\n    provenance: ours\n",
        ["streets.student.provenance", "'ours'", "mapping"],
    ),
    "duplicate key": (
        "methods.yaml",
        "  method: kd\n",
        "  method: kd\n  method: cwd\n",
        ["line", "'method' is given twice"],
    ),
    "duplicate entry": ("methods.yaml", "\nfitnet:\n", "\nkd:\n", ["line", "'kd' is given twice"]),
    "broken YAML": ("methods.yaml", "  method: kd\n", "  method: [kd\n", ["methods.yaml", "line"]),
    "a template left in": ("methods.yaml", "method: kd\n", "method: {{method}}\n", ["methods.yaml", "line"]),
    "a control character": ("methods.yaml", "method: kd\n", "method: k\x07d\n", ["methods.yaml", "not valid YAML"]),
    "an entry that is no mapping": ("methods.yaml", "\nfitnet:\n", "\nextra: 3\nfitnet:\n", ["extra", "3"]),
    "a grid with a seed twice": (
        "grids/toy.yaml",
        "seeds: [0]",
        "seeds: [0, 0]",
        ["blocks.0.seeds", "0 is listed twice"],
    ),
    "a grid with a seed that is none": ("grids/toy.yaml", "seeds: [0]", "seeds: [-1]", ["blocks.0.seeds.0", "-1"]),
    "a grid without methods": ("grids/toy.yaml", METHODS, "[]", ["blocks.0.methods"]),
    "a grid with a name that is a path": ("grids/toy.yaml", METHODS, "[../kd]", ["blocks.0.methods.0", "'../kd'"]),
    "a grid with a key that is none": (
        "grids/toy.yaml",
        "seeds: [0]",
        "seeds: [0]\n    seed: 1",
        ["blocks.0.seed", "unknown key"],
    ),
}


@pytest.fixture
def folder(empty_study: TinyStudy) -> Path:
    return empty_study.folder / "params"


@contextmanager
def noting_problems(found: list[str]) -> Iterator[None]:
    """Some nonsense is in order (an empty file has no entries): a UserError is fine, and so is none."""
    try:
        yield
    except ParamsError as error:
        found += error.problems


def problems(folder: Path) -> list[str]:
    with pytest.raises(ParamsError) as caught:
        load_params(folder)
    return caught.value.problems


def test_the_repositorys_own_params_are_valid() -> None:
    params = load_params(REPOSITORY)
    assert "demo" in params.grids
    for role in ROLES:
        assert (params.recipe("streets", role).iterations is None) == (role == "student")
    assert params.method("mgd").on("streets").weights["mgd"] != params.method("mgd").weights["mgd"]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_with_file_key_and_value(folder: Path, mistake: str) -> None:
    file, old, new, expected = MISTAKES[mistake]
    edit(folder / file, old, new)
    found = problems(folder)
    assert all("\n" not in problem for problem in found)
    matching = [problem for problem in found if all(part in problem for part in expected)]
    assert matching, found
    assert all(problem.startswith(str(folder / file)) for problem in found), found


def test_several_problems_are_reported_together(folder: Path) -> None:
    for mistake in ("unknown key", "negative weight", "unknown protocol", "a grid without methods"):
        file, old, new, _ = MISTAKES[mistake]
        edit(folder / file, old, new)
    found = problems(folder)
    assert len(found) == 4
    assert {Path(problem.split(": ")[0]).name for problem in found} == {"methods.yaml", "budgets.yaml", "toy.yaml"}


def test_counts_are_of_splits_that_the_entry_has(folder: Path) -> None:
    edit(folder / "datasets.yaml", "  val: val\n", "  val: val\n  images: {train: 5, validation: 2}\n")
    (found,) = problems(folder)
    assert "streets" in found
    assert "images.validation: unknown split; choose from train, val" in found


def test_no_problem_is_reported_twice(folder: Path) -> None:
    edit(folder / "datasets.yaml", "root: data/streets", "root: 3")
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
    found = [problem for problem in problems(folder) if problem.startswith(f"{path}: {expected}")]
    assert len(found) == 1


@pytest.mark.parametrize(
    "file", ["datasets.yaml", "models.yaml", "training.yaml", "methods.yaml", "budgets.yaml", "grids/toy.yaml"]
)
@pytest.mark.parametrize("content", ["", "3", "[1, 2]", "a: 1\n---\nb: 2\n", "- &x [*x]\n", "? [a]\n: 1\n"])
def test_nonsense_is_never_a_traceback(folder: Path, file: str, content: str) -> None:
    (folder / file).write_text(content, encoding="utf-8")
    found: list[str] = []
    with noting_problems(found):
        load_params(folder)
    assert all("\n" not in problem for problem in found)
    assert all(str(folder) in problem for problem in found)


def test_no_folder_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="run isoclock in the folder that contains Snakefile and params"):
        read_params(tmp_path / "params")


@pytest.mark.parametrize(
    ("ask", "expected"),
    [
        (lambda params: params.dataset("x"), r"datasets\.yaml: unknown data set 'x'; choose from streets"),
        (lambda params: params.model("x"), r"models\.yaml: unknown model 'x'; choose from small, tiny"),
        (lambda params: params.pair("x"), r"models\.yaml: unknown pair 'x'; choose from tiny"),
        (lambda params: params.method("x"), r"methods\.yaml: unknown method 'x'; choose from "),
        (lambda params: params.budget("x"), r"budgets\.yaml: unknown budget 'x'; choose from "),
        (lambda params: params.grid("x"), r"grids: unknown grid 'x'; choose from toy"),
        (lambda params: params.recipe("avenues", "student"), r"training\.yaml: unknown recipe 'avenues/student'"),
    ],
)
def test_asking_for_what_is_not_there(folder: Path, ask: object, expected: str) -> None:
    params = load_params(folder)
    with pytest.raises(ParamsError, match=expected):
        ask(params)  # type: ignore[operator]


def test_a_recipe_for_teachers_that_are_anothers(shared_study: TinyStudy) -> None:
    params = shared_study.params
    assert params.recipe("avenues", "student") == params.recipe("streets", "student")
    with pytest.raises(ParamsError, match=r"avenues\.teacher_from: 'streets': avenues has no teachers of its own"):
        params.recipe("avenues", "teacher")


def test_the_protocol_of_a_budget_is_that_of_its_entry(folder: Path) -> None:
    assert load_params(folder).protocols == {"iteration-6": "iteration", "compute-6": "compute"}


def test_an_entry_cannot_be_changed(folder: Path) -> None:
    budget = load_params(folder).budget("iteration-6")
    with pytest.raises(ValueError, match="frozen"):
        budget.iterations = 3


def test_the_exit_status_of_a_users_mistake_is_2() -> None:
    assert EXIT_USER_ERROR == 2
    with pytest.raises(ValueError, match="at least one"):
        ParamsError([])
