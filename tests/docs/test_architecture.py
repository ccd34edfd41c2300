"""docs/architecture.svg is what its generator makes of the source, and the page beside it names every package."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_build_architecture", ROOT / "docs" / "build_architecture.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write(source: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text)
        (source / name).parent.joinpath("__init__.py").touch()
    return source


def test_the_picture_is_up_to_date(build: ModuleType) -> None:
    assert build.PICTURE.read_text() == build.picture(build.imports(), build.modules()), "run `make docs`"


def test_the_picture_has_a_box_for_each_package(build: ModuleType) -> None:
    tree = ElementTree.fromstring(build.picture(build.imports(), build.modules()))
    boxes = [group.get("id") for group in tree.iter("{http://www.w3.org/2000/svg}g")]
    folders = [path.name for path in build.SOURCE.iterdir() if any(path.glob("*.py"))]
    assert sorted(str(box) for box in boxes) == sorted(folders)


def test_the_page_has_a_row_for_each_package(build: ModuleType) -> None:
    assert re.findall(r"^\| `(\w+)/` \|", PAGE, re.MULTILINE) == build.packages()


def test_imports_of_the_three_forms_count_and_those_for_types_do_not(build: ModuleType, tmp_path: Path) -> None:
    source = write(
        tmp_path,
        {
            "a/one.py": "from isoclock import b\nfrom isoclock.errors import E\ndef f():\n    import isoclock.c.deep\n",
            "a/sub/two.py": "from isoclock.d.deep import x\nimport isoclockwork, torch\n",
            "b/one.py": "if TYPE_CHECKING:\n    from isoclock.a import y\nelse:\n    z = 1\n",
            "c/one.py": "",
            "d/one.py": "",
        },
    )
    assert build.imports(source) == {"a": {"b", "c", "d"}, "b": set(), "c": set(), "d": set()}


def test_rows_and_arrows(build: ModuleType) -> None:
    graph = {
        "top": {"left", "right", "low"},
        "left": {"low"},
        "right": {"low", "twin"},
        "twin": {"right"},
        "low": set(),
    }
    assert build.rows(graph) == [["top"], ["left", "right", "twin"], ["low"]]
    drawn = build.shown(graph)
    assert ("top", "low") not in drawn
    assert {("top", "left"), ("left", "low"), ("right", "twin"), ("twin", "right"), ("right", "low")} <= set(drawn)


def test_files_that_the_pages_name_are_there() -> None:
    for page in ("architecture.md", "decisions.md"):
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        for link in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (ROOT / "docs" / link).exists(), f"{page}: {link}"
        for path in re.findall(r"`([a-z_/]+/[a-z_]+\.(?:py|md|yaml|smk))`", text):
            assert (ROOT / path).exists() or (ROOT / "src/isoclock" / path).exists(), f"{page}: {path}"
