"""Which stamps an edit of the code changes: none for words and for code that stores or reports, the right ones for numbers."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from isoclock.grid import code, stamps
from isoclock.grid.code import VERB_MODULES, closure
from tiny_study import TinyStudy, edit, write_tiny_params

SOURCES = code.PACKAGE
NUMBERS = ("prepare", "teacher", "profile", "student", "evaluate")
FORBIDDEN = {
    "cli",
    "cluster",
    "dag",
    "digests",
    "files",
    "grid",
    "locks",
    "os_failures",
    "params",
    "progress",
    "records",
    "report",
    "runner",
    "tracking",
}

METHODS = ("none", "kd", "fitnet", "cwd", "mgd")
PREPARE = {"prepare/streets"}
TEACHER = {"teacher/streets/small"}
STUDENTS = {f"student/streets/tiny/{method}" for method in METHODS}
PROFILES = {f"profile/streets/tiny/{method}" for method in METHODS}
SCORES = {"evaluate/streets", "evaluate_teacher/streets"}


def stores_or_reports(path: Path) -> bool:
    """Whether a file of the package stores, reports or survives, and makes no numbers."""
    folder, name = path.parts[0], path.name
    return (
        folder.removesuffix(".py") in FORBIDDEN - {"report"}
        or path.parts[:2] == ("data", "streets")
        or str(path.parent) + "/" + name
        in {
            "budget/plan.py",
            "budget/profile.py",
            "data/loading/prepared.py",
            "data/packing/doubts.py",
            "data/packing/packed.py",
            "data/packing/prepare.py",
            "scoring/last_validation.py",
            "scoring/overlays.py",
            "scoring/score.py",
            "scoring/scores.py",
            "scoring/target.py",
        }
    )


FILES = sorted(path.relative_to(SOURCES) for path in SOURCES.rglob("*.py"))
STORING = [str(path) for path in FILES if stores_or_reports(path)]
MAKING_NUMBERS = sorted(
    {
        str(path.relative_to(SOURCES))
        for verb in NUMBERS
        for path in closure(
            *VERB_MODULES[verb], "models.pspnet", "data.readers.cityscapes", *(f"methods.{m}" for m in METHODS)
        )
    }
)


class Copy:
    """A copy of the package that may be edited, and of which stamps are taken."""

    def __init__(self, folder: Path, study: TinyStudy) -> None:
        self.folder, self.params, self.layout = folder, study.params, study.layout
        self.before = self.stamps()

    def stamps(self) -> dict[str, Any]:
        """Every stamp of the grid by its path, but that of the report."""
        root = self.layout.results / "stamps"
        found = stamps.stamps(self.params, "toy", self.layout)
        named = {str(path.relative_to(root).with_suffix("")): content for path, content in found.items()}
        return {path: content for path, content in named.items() if not path.startswith("grid/")}

    def changed(self) -> set[str]:
        """Paths of the stamps that differ from those of the code as it was."""
        return {path for path, content in self.stamps().items() if content != self.before[path]}


_imports_of = code._imports.__wrapped__


def _imports(path: Path) -> tuple[str, ...]:
    """A process keeps imports by path, because it sees one state of the code; here files change."""
    return _imports_by_content(path, path.read_bytes())


@cache
def _imports_by_content(path: Path, _content: bytes) -> tuple[str, ...]:
    return tuple(_imports_of(path))


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    folder = tmp_path_factory.mktemp("code")
    write_tiny_params(folder / "study")
    shutil.copytree(SOURCES, folder / "isoclock", ignore=shutil.ignore_patterns("__pycache__"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(code, "PACKAGE", folder / "isoclock")
        patch.setattr(code, "_imports", _imports)
        yield Copy(folder / "isoclock", TinyStudy(folder / "study"))


@pytest.fixture
def edited(copy: Copy) -> Iterator[Callable[[str], Path]]:
    """Gives a file of the copy that may be edited; it is put back after the test."""
    kept: dict[Path, bytes] = {}

    def file(name: str) -> Path:
        path = copy.folder / name
        kept[path] = path.read_bytes()
        return path

    yield file
    for path, content in kept.items():
        path.write_bytes(content)


def reword(path: Path, within: type[ast.AST], *, words: int = 1) -> int:
    """Append to every string of at least that many words inside nodes of type `within`; returns how many strings there are."""
    tree, count = ast.parse(path.read_bytes()), 0
    for node in ast.walk(tree):
        if isinstance(node, within):
            for inner in ast.walk(node):
                if (
                    isinstance(inner, ast.Constant)
                    and isinstance(inner.value, str)
                    and len(inner.value.split()) >= words
                ):
                    inner.value += " reworded"
                    count += 1
    path.write_text(ast.unparse(ast.fix_missing_locations(tree)))
    return count


@cache
def raises_with_words(name: str) -> bool:
    raised = [node for node in ast.walk(ast.parse((SOURCES / name).read_bytes())) if isinstance(node, ast.Raise)]
    return any(isinstance(n, ast.Constant) and isinstance(n.value, str) for node in raised for n in ast.walk(node))


@pytest.mark.parametrize("name", STORING)
def test_rewording_what_stores_or_reports_changes_no_stamp(
    edited: Callable[[str], Path], copy: Copy, name: str
) -> None:
    path = edited(name)
    reword(path, ast.Module)
    path.write_text(path.read_text() + "\nEXTRA = 2\n")
    assert copy.changed() == set()


@pytest.mark.parametrize("name", [name for name in MAKING_NUMBERS if raises_with_words(name)])
def test_rewording_an_error_message_changes_no_stamp(edited: Callable[[str], Path], copy: Copy, name: str) -> None:
    assert reword(edited(name), ast.Raise)
    assert copy.changed() == set()


@pytest.mark.parametrize(
    "name",
    [
        "data/jpeg/damage.py",
        "data/packing/labels.py",
        "data/png.py",
        "data/readers/archive.py",
        "data/readers/cityscapes.py",
        "data/readers/rawtree.py",
        "data/readers/reader.py",
        "errors.py",
        "methods/card.py",
    ],
)
def test_rewording_collected_problems_changes_no_stamp(edited: Callable[[str], Path], copy: Copy, name: str) -> None:
    assert reword(edited(name), ast.FunctionDef, words=4) or name == "errors.py"
    assert copy.changed() == set()


@pytest.mark.parametrize(
    ("name", "old", "new", "expected"),
    [
        ("training/loop.py", "LOG_EVERY = 20", "LOG_EVERY = 21", TEACHER | STUDENTS),
        ("training/schedule.py", "(1.0 - progress)", "(1.5 - progress)", TEACHER | STUDENTS),
        ("training/clock.py", "self._since = 0.0", "self._since = 1.0", TEACHER | STUDENTS),
        ("training/batches.py", "15485863", "15485867", TEACHER | STUDENTS | PROFILES),
        ("training/assemble.py", "(seed + 1)", "(seed + 3)", TEACHER | STUDENTS | PROFILES),
        ("training/task_loss.py", "_LINE = 64", "_LINE = 65", TEACHER | STUDENTS | PROFILES),
        ("training/anchor.py", "share: float = 0.05", "share: float = 0.06", TEACHER | STUDENTS | PROFILES),
        ("data/loading/augment.py", "range(4)", "range(4, 8)", TEACHER | STUDENTS | PROFILES | SCORES),
        ("models/pspnet.py", "(1, 2, 3, 6)", "(1, 2, 3, 5)", TEACHER | STUDENTS | PROFILES),
        ("methods/kd.py", "class KD", "SHARPNESS = 2\n\n\nclass KD", {f"{v}/streets/tiny/kd" for v in ("student", "profile")}),
        ("budget/measure.py", "BOOTSTRAP = 2000", "BOOTSTRAP = 2001", PROFILES),
        ("scoring/confusion.py", "_LABEL_VALUES = 256", "_LABEL_VALUES = 257", SCORES),
        ("scoring/views.py", "1 << 24", "1 << 25", SCORES),
        ("data/packing/verify.py", "JPEG_QUALITY = 95", "JPEG_QUALITY = 96", PREPARE),
        ("data/readers/cityscapes.py", "range(34)", "range(35)", PREPARE),
        ("data/readers/camvid.py", "_VOID = 11", "_VOID = 12", set()),
        ("runner/session.py", "SAVING_SHARE = 0.005", "SAVING_SHARE = 0.006", set()),
        ("locks.py", "SILENT_S = 90.0", "SILENT_S = 91.0", set()),
    ],
)  # fmt: skip
def test_changing_a_number_changes_what_depends_on_it(
    edited: Callable[[str], Path], copy: Copy, name: str, old: str, new: str, expected: set[str]
) -> None:
    edit(edited(name), old, new)
    assert copy.changed() == expected


@pytest.mark.parametrize("verb", NUMBERS)
def test_numbers_import_nothing_that_stores_reports_or_survives(verb: str) -> None:
    named = {path.relative_to(code.PACKAGE).parts[0].removesuffix(".py") for path in closure(*VERB_MODULES[verb])}
    assert not named & FORBIDDEN


@pytest.mark.parametrize("package", ["training", "methods", "kernels", "models"])
def test_packages_of_numbers_import_nothing_that_stores_reports_or_survives(package: str) -> None:
    files = [path for path in FILES if path.parts[0] == package and path.name != "testing.py"]
    modules = [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in files]
    named = {path.relative_to(code.PACKAGE).parts[0].removesuffix(".py") for path in closure(*modules)}
    assert not named & FORBIDDEN


def digest(source: str) -> str:
    return code.syntax_digest(source.encode())


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n    raise ValueError({})",
        "def f():\n    raise ValueError(['a', {}]) from None",
        "def f():\n    return ParamsError({})",
        "warnings.warn({}, UserWarning, stacklevel=2)",
        "print({}, file=sys.stderr)",
        "problems.append({})",
        "source.count_problems += [{}]",
        "problems = [{} for name in names]",
        "def value_problem(value):\n    return None if value else {}",
    ],
)
def test_messages_are_not_in_a_digest(text: str) -> None:
    assert len({digest(text.format(message)) for message in ("'one'", "'another'", "f'{value}: third'")}) == 1


@pytest.mark.parametrize(
    "text",
    ["X = {}", "f({})", "names.append({})", "def f():\n    return {}", "if x == {}:\n    pass", "x[{}].problem()"],
)
def test_other_strings_are_in_a_digest(text: str) -> None:
    assert digest(text.format("'one'")) != digest(text.format("'another'"))


def test_numbers_in_a_message_count() -> None:
    assert digest("raise Stop(1)") != digest("raise Stop(2)")


def test_imports_for_annotations_are_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "PACKAGE", tmp_path)
    sources = {
        "a": "if TYPE_CHECKING:\n    from isoclock.b import B\nelse:\n    from isoclock.c import C",
        "b": "",
        "c": "def f():\n    import isoclock.d",
        "d": "",
    }
    for name, source in sources.items():
        (tmp_path / f"{name}.py").write_text(source)
    assert [path.name for path in closure("a")] == ["a.py", "c.py", "d.py"]
