"""What an edit of the code or of params/ makes anew, and what it leaves alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from isoclock.files import to_json
from isoclock.grid import code as code_module
from isoclock.grid import stamps
from isoclock.protocol import VERSION
from tiny_study import TinyStudy, edit

Refreshed = set[str]
COSMETIC = {
    "a comment": lambda code: "# a remark\n" + code,
    "a trailing comment": lambda code: code.replace("\n\n\n", "  # so it is\n\n\n", 1),
    "blank lines": lambda code: code.replace("\n\n\n", "\n\n\n\n\n", 1),
    "a docstring": lambda code: code.replace('"""', '"""Other words: ', 1),
    "line breaks": lambda code: code.replace("return ", "return \\\n        ", 1),
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package that may be edited, and of which stamps are taken."""
    copy = tmp_path / "isoclock"
    shutil.copytree(code_module.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(code_module, "PACKAGE", copy)
    monkeypatch.setattr(code_module, "_imports", imports_by_content)
    return copy


_found: dict[tuple[Path, bytes], tuple[str, ...]] = {}
_imports = code_module._imports.__wrapped__


def imports_by_content(path: Path) -> tuple[str, ...]:
    """In life a process sees one state of the code, so imports are kept by path; here files change, and copies are equal."""
    key = path.relative_to(code_module.PACKAGE), path.read_bytes()
    if key not in _found:
        _found[key] = _imports(path)
    return _found[key]


@pytest.fixture
def refresh(empty_study: TinyStudy, package: Path) -> Callable[[], Refreshed]:
    """Write stamps anew; gives what changed, as paths below results/stamps without .json."""

    def changed() -> Refreshed:
        root = empty_study.layout.results / "stamps"
        paths = stamps.refresh(empty_study.params, "toy", empty_study.layout)
        return {str(path.relative_to(root).with_suffix("")) for path in paths}

    changed()
    return changed


def of(verb: str, changed: Refreshed) -> Refreshed:
    return {path.rpartition("/")[2] for path in changed if path.startswith(f"{verb}/")}


ALL = {"none", "kd", "fitnet", "cwd", "mgd"}
STUDENTS_AND_PROFILES = {f"{verb}/streets/tiny/{method}" for verb in ("student", "profile") for method in ALL}


def test_the_stamps_of_a_grid(empty_study: TinyStudy) -> None:
    found = stamps.stamps(empty_study.params, "toy", empty_study.layout)
    root = empty_study.layout.results / "stamps"
    assert {str(path.relative_to(root)) for path in found} == {
        "prepare/streets.json",
        "teacher/streets/small.json",
        "evaluate_teacher/streets.json",
        "evaluate/streets.json",
        "grid/toy.json",
        "budget/streets/tiny/iteration-6.json",
        "budget/streets/tiny/compute-6.json",
        *(f"{verb}/streets/tiny/{method}.json" for verb in ("profile", "student") for method in ALL),
    }
    again = stamps.stamps(empty_study.params, "toy", empty_study.layout)
    assert to_json(list(found.values())) == to_json(list(again.values()))


def test_images_without_labels_are_in_no_stamp_of_a_data_set_that_has_none(
    refresh: Callable[[], Refreshed], empty_study: TinyStudy
) -> None:
    everything = to_json(list(stamps.stamps(empty_study.params, "toy", empty_study.layout).values()))
    assert "label" not in everything
    empty_study.edit("datasets.yaml", "  val: val\n", "  val: val\n  labelled_images: 2\n")
    assert refresh() == {"prepare/streets"}
    empty_study.edit("training.yaml", "  student:\n", "  student:\n    unlabelled_per_batch: 1\n")
    assert refresh() == STUDENTS_AND_PROFILES | {"budget/streets/tiny/compute-6"}


def test_whose_teachers_there_are_is_in_the_students_stamp_alone(shared_study: TinyStudy) -> None:
    root = shared_study.layout.results / "stamps"
    found = stamps.stamps(shared_study.params, "both", shared_study.layout)
    paths = {str(path.relative_to(root)): path for path in found}
    assert {path for path in paths if "teacher" in path} == {
        "teacher/streets/small.json",
        "evaluate_teacher/streets.json",
    }
    assert found[paths["prepare/avenues.json"]] == found[paths["prepare/streets.json"]]
    own, shared = (found[paths[f"student/{name}/tiny/kd.json"]] for name in ("streets", "avenues"))
    assert shared == {**own, "teacher_from": "streets"}
    only = stamps.stamps(shared_study.params, "avenues", shared_study.layout)
    assert {"prepare/streets.json", "teacher/streets/small.json"} <= {str(path.relative_to(root)) for path in only}


def test_a_factor_is_in_the_students_stamp_and_has_no_profile_of_its_own(empty_study: TinyStudy) -> None:
    empty_study.edit("grids/toy.yaml", "[none, kd, fitnet, cwd, mgd]", "[none, none.x2, kd, kd.x2]")
    root = empty_study.layout.results / "stamps"
    found = stamps.stamps(empty_study.params, "toy", empty_study.layout)
    paths = {str(path.relative_to(root).with_suffix("")): content for path, content in found.items()}
    assert {path for path in paths if path.startswith("profile/")} == {
        f"profile/streets/tiny/{m}" for m in ("none", "kd")
    }
    none, faster, kd, heavier = (paths[f"student/streets/tiny/{m}"] for m in ("none", "none.x2", "kd", "kd.x2"))
    assert faster == {**none, "recipe": {**none["recipe"], "lr": 2 * none["recipe"]["lr"]}}
    assert heavier == {**kd, "method": {**kd["method"], "weights": {"kd": 2.0}}}


def test_nothing_changed_writes_nothing(refresh: Callable[[], Refreshed]) -> None:
    assert refresh() == set()


@pytest.mark.parametrize("how", COSMETIC)
def test_a_cosmetic_edit_changes_nothing(refresh: Callable[[], Refreshed], package: Path, how: str) -> None:
    for name in ("methods/kd.py", "training/loop.py", "scoring/confusion.py"):
        path = package / name
        edited = COSMETIC[how](path.read_text())
        assert edited != path.read_text(), name
        path.write_text(edited)
    assert refresh() == set()


def test_an_edit_of_a_loss_changes_its_method_only(refresh: Callable[[], Refreshed], package: Path) -> None:
    path = package / "methods" / "kd.py"
    path.write_text(path.read_text() + "\nSHARPNESS = 2\n")
    assert refresh() == {"student/streets/tiny/kd", "profile/streets/tiny/kd"}


def test_a_variant_follows_what_it_bundles(
    refresh: Callable[[], Refreshed], empty_study: TinyStudy, package: Path
) -> None:
    both = {"student/streets/tiny/fitnet", "profile/streets/tiny/fitnet"}
    empty_study.edit("methods.yaml", "weights: {fitnet: 1.0}\n", "weights: {fitnet: 1.0}\n  extras: [kd]\n")
    assert refresh() == both
    empty_study.edit("methods.yaml", "weights: {kd: 1.0}", "weights: {kd: 2.0}")
    assert refresh() == {"student/streets/tiny/fitnet", "student/streets/tiny/kd"}
    path = package / "methods" / "kd.py"
    path.write_text(path.read_text() + "\nSHARPNESS = 2\n")
    assert refresh() == {*both, "student/streets/tiny/kd", "profile/streets/tiny/kd"}


def test_a_methods_title_is_not_part_of_its_code(refresh: Callable[[], Refreshed], package: Path) -> None:
    edit(package / "methods" / "kd.py", 'title = "logit KD"', 'title = "pixel-wise KD"')
    assert refresh() == set()


def test_a_default_that_changes_is_an_edit(refresh: Callable[[], Refreshed], package: Path) -> None:
    path = package / "methods" / "mgd.py"
    edit(path, '"below": 1, "default": 0.75', '"below": 1, "default": 0.5')
    assert refresh() == {"student/streets/tiny/mgd", "profile/streets/tiny/mgd"}


def test_what_a_method_imports_is_part_of_it(refresh: Callable[[], Refreshed], package: Path) -> None:
    path = package / "kernels" / "projector.py"
    path.write_text(path.read_text() + "\nWIDTH = 2\n")
    changed = refresh()
    assert "fitnet" in of("student", changed)
    assert not of("student", changed) & {"none", "kd"}
    assert {path.split("/")[0] for path in changed} == {"student", "profile"}


@pytest.mark.parametrize(
    "statement",
    ["from .kd import KD", "from . import kd", "from isoclock.methods import kd", "import isoclock.methods.kd"],
)
def test_every_way_to_import_is_followed(refresh: Callable[[], Refreshed], package: Path, statement: str) -> None:
    fitnet, kd = package / "methods" / "fitnet.py", package / "methods" / "kd.py"
    edit(fitnet, "from __future__ import annotations\n", f"from __future__ import annotations\n{statement}\n")
    refresh()
    kd.write_text(kd.read_text() + "\nSHARPNESS = 2\n")
    assert of("student", refresh()) == {"kd", "fitnet"}


@pytest.mark.parametrize(
    "name",
    [
        "training/loop.py",
        "training/step.py",
        "training/schedule.py",
        "data/loading/stream.py",
        "data/loading/augment.py",
        "models/pspnet.py",
        "methods/contract.py",
    ],
)
def test_an_edit_of_the_core_changes_all_that_is_trained(
    refresh: Callable[[], Refreshed], package: Path, name: str
) -> None:
    path = package / name
    path.write_text(path.read_text() + "\nEXTRA = 2\n")
    changed = refresh()
    assert of("student", changed) == ALL
    assert of("teacher", changed) == {"small"}


def test_an_edit_of_scoring_changes_no_weights(refresh: Callable[[], Refreshed], package: Path) -> None:
    path = package / "scoring" / "confusion.py"
    path.write_text(path.read_text() + "\nEXTRA = 2\n")
    changed = refresh()
    assert of("evaluate", changed) == of("evaluate_teacher", changed) == {"streets"}
    assert not {"student", "teacher", "profile", "prepare"} & {path.split("/")[0] for path in changed}


def test_a_time_limit_changes_nothing(refresh: Callable[[], Refreshed], empty_study: TinyStudy) -> None:
    empty_study.edit("training.yaml", "    evaluations: 2\n", "    evaluations: 2\n    loader_timeout_s: 60\n")
    assert empty_study.params.recipe("streets", "student").loader_timeout_s == 60
    assert refresh() == set()


def test_how_images_are_scored_changes_scores_only(refresh: Callable[[], Refreshed], empty_study: TinyStudy) -> None:
    empty_study.edit("training.yaml", "    evaluations: 2\n", "    evaluations: 2\n    scoring: {flip: true}\n")
    assert refresh() == {"evaluate/streets", "evaluate_teacher/streets"}, "it is said under shared"
    empty_study.edit("training.yaml", "    scoring: {flip: true}\n", "")
    for role, changed in (("teacher", "evaluate_teacher/streets"), ("student", "evaluate/streets")):
        refresh()
        empty_study.edit("training.yaml", f"  {role}:\n", f"  {role}:\n    scoring: {{flip: true}}\n")
        assert refresh() == {changed}


def test_another_version_of_the_protocol_makes_all_again_but_data_and_teachers(
    refresh: Callable[[], Refreshed], package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(package / "protocol.py", f"\nVERSION = {VERSION}\n", f"\nVERSION = {VERSION + 1}\n")
    assert refresh() <= {"grid/toy"}, "the constant itself is not part of a teacher's code"
    monkeypatch.setattr(stamps, "VERSION", VERSION + 1)
    budgets = {f"budget/streets/tiny/{name}" for name in ("iteration-6", "compute-6")}
    scores = {"evaluate/streets", "evaluate_teacher/streets"}
    assert refresh() == STUDENTS_AND_PROFILES | budgets | scores | {"grid/toy"}


def test_an_edit_of_the_report_changes_the_report_only(refresh: Callable[[], Refreshed], package: Path) -> None:
    path = package / "report" / "build.py"
    path.write_text(path.read_text() + "\nEXTRA = 2\n")
    assert refresh() == {"grid/toy"}


@pytest.mark.parametrize(
    "name",
    ["tracking/store.py", "cli/main.py", "params/load.py", "progress.py", "data/streets/make.py", "report/html.py"],
)
def test_an_edit_elsewhere_trains_nothing(refresh: Callable[[], Refreshed], package: Path, name: str) -> None:
    path = package / name
    path.write_text(path.read_text() + "\nEXTRA = 2\n")
    assert refresh() <= {"grid/toy"}


def test_another_data_sets_reader_prepares_nothing(refresh: Callable[[], Refreshed], package: Path) -> None:
    path = package / "data" / "readers" / "camvid.py"
    path.write_text(path.read_text() + "\nEXTRA = 2\n")
    assert refresh() == set()


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        (
            "methods.yaml",
            "temperature: 1.0",
            "temperature: 2.0",
            {"student/streets/tiny/kd", "profile/streets/tiny/kd"},
        ),
        ("methods.yaml", "weights: {kd: 1.0}", "weights: {kd: 2.0}", {"student/streets/tiny/kd"}),
        (
            "methods.yaml",
            "weights: {kd: 1.0}\n",
            "weights: {kd: 1.0}\n  weights_for: {streets: {kd: 2.0}}\n",
            {"student/streets/tiny/kd"},
        ),
        ("methods.yaml", "cwd_logit: 0.0", "cwd_logit: 1.0", {"student/streets/tiny/mgd", "profile/streets/tiny/mgd"}),
        (
            "budgets.yaml",
            "protocol: iteration\n    iterations: 6",
            "protocol: iteration\n    iterations: 7",
            {"budget/streets/tiny/iteration-6"},
        ),
        ("budgets.yaml", "windows: 3", "windows: 4", {f"profile/streets/tiny/{method}" for method in ALL}),
        ("training.yaml", "    iterations: 6\n", "    iterations: 7\n", {"teacher/streets/small"}),
        (
            "models.yaml",
            "head_channels: 24",
            "head_channels: 32",
            {"teacher/streets/small", "budget/streets/tiny/compute-6", *STUDENTS_AND_PROFILES},
        ),
        (
            "training.yaml",
            "teacher_inference: eager",
            "teacher_inference: folded",
            {"budget/streets/tiny/compute-6", *STUDENTS_AND_PROFILES},
        ),
        (
            "models.yaml",
            "    student: tiny\n",
            "    student: tiny\n    teacher_inference: folded\n",
            {"budget/streets/tiny/compute-6", *STUDENTS_AND_PROFILES},
        ),
        ("models.yaml", "    student: tiny\n", "    student: tiny\n    teacher_inference: null\n", set()),
        ("datasets.yaml", '{"*": ours}', '{"*": "ours: made here"}', set()),
    ],
)
def test_an_edit_of_params_changes_what_reads_it(
    refresh: Callable[[], Refreshed], empty_study: TinyStudy, file: str, old: str, new: str, expected: Refreshed
) -> None:
    empty_study.edit(file, old, new)
    assert refresh() == expected


def test_a_new_seed_trains_only_itself(refresh: Callable[[], Refreshed], empty_study: TinyStudy) -> None:
    empty_study.edit("grids/toy.yaml", "seeds: [0]", "seeds: [0, 1]")
    assert refresh() == {"grid/toy"}


def test_a_docstring_alone_in_its_body(tmp_path: Path) -> None:
    with_words, without = b'def f():\n    """Words."""\n', b'def f():\n    """Others."""\n'
    assert code_module.syntax_digest(with_words) == code_module.syntax_digest(without)
    assert code_module.syntax_digest(b"X = 'a'\n") != code_module.syntax_digest(b"X = 'b'\n")
