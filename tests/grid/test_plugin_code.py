"""Stamps cover plugins as they cover the package's own files."""

from __future__ import annotations

from pathlib import Path

import pytest

from isoclock.grid import code
from isoclock.grid.plugin_code import split_plugins
from isoclock.grid.stamps import refresh
from plugin_study import FILES_SHOWN
from tiny_study import TinyStudy, edit

STUDENTS = {f"{verb}/streets/former/{method}" for verb in ("student", "profile") for method in ("none", "kd", "huber")}
ROADS = {"student/roads/former/kd", "profile/roads/former/kd"}
TEACHERS = {"teacher/streets/convformer-wide", "teacher/roads/convformer-wide"}
HUBER = {"student/streets/former/huber", "profile/streets/former/huber"}
READER = {"prepare/roads"}


def changed(study: TinyStudy) -> set[str]:
    root = study.layout.results / "stamps"
    return {str(path.relative_to(root).with_suffix("")) for path in refresh(study.params, "plugins", study.layout)}


def test_an_edit_of_a_plugin_changes_exactly_its_stamps(plugin_study: TinyStudy) -> None:
    everything = changed(plugin_study)
    method, model, reader = (plugin_study.folder / "plugins" / name for name in FILES_SHOWN)
    assert everything >= STUDENTS | ROADS | TEACHERS | READER
    for path, expected in ((method, HUBER), (model, STUDENTS | ROADS | TEACHERS), (reader, READER)):
        path.write_text(f"# a comment\n{path.read_text()}")
        assert changed(plugin_study) == set(), path
        path.write_text(f"{path.read_text()}\nEXTRA = 1\n")
        assert changed(plugin_study) == expected, path


def test_what_a_plugin_imports_is_part_of_it(plugin_study: TinyStudy) -> None:
    method = plugin_study.folder / "plugins" / "methods" / "huber.py"
    shared, inner = method.with_name("_shared.py"), method.with_name("_inner.py")
    shared.write_text("from . import _inner\n")
    inner.write_text("X = 1\n")
    edit(method, "from torch import nn\n", "from torch import nn\nfrom ._shared import _inner\n")
    changed(plugin_study)
    inner.write_text("X = 2\n")
    assert changed(plugin_study) == HUBER


@pytest.mark.parametrize(
    ("statement", "module"),
    [
        ("from isoclock.kernels.projector import build_projector", "kernels.projector"),
        ("import isoclock.kernels.projector", "kernels.projector"),
        ("from isoclock.methods import KD", "methods.kd"),
        ("from isoclock.models import PSPNet", "models.pspnet"),
    ],
)
def test_modules_of_isoclock_that_a_plugin_imports_are_followed(
    plugin_study: TinyStudy, statement: str, module: str
) -> None:
    method = plugin_study.folder / "plugins" / "methods" / "huber.py"
    before = code.code_digest("student", "methods.huber")
    assert module not in split_plugins(["methods.huber"])[0]
    method.write_text(f"{statement}\n{method.read_text()}")
    own, files = split_plugins(["methods.huber", "methods.none"])
    assert {module, "methods.none"} <= set(own)
    assert files == {"isoclock.plugins.methods.huber": method}
    assert code.code_digest("student", "methods.huber") != before


def test_types_that_a_plugin_imports_are_not_followed(plugin_study: TinyStudy) -> None:
    method = plugin_study.folder / "plugins" / "methods" / "huber.py"
    types = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from isoclock.kernels import projector\n"
    method.write_text(f"{types}{method.read_text()}")
    assert "kernels.projector" not in split_plugins(["methods.huber"])[0]


def test_modules_of_another_distribution_are_followed(
    tmp_path: Path, plugin_study: TinyStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own files are, without being imported; those of others are not."""
    package = tmp_path / "site" / "acme_of_this_test"
    for name, content in {
        "__init__.py": "raise ImportError\n",
        "losses.py": "from . import helpers\nfrom acme_of_this_test.deep.more import X\nimport json\n",
        "helpers.py": "from isoclock.kernels import labels\n",
        "deep/__init__.py": "",
        "deep/more.py": "from ..helpers import labels\nX = 1\n",
        "unused.py": "",
    }.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(content)
    monkeypatch.syspath_prepend(str(package.parent))
    from isoclock.grid.plugin_code import _follow

    files: dict[str, Path] = {}
    own = _follow("acme_of_this_test.losses", files)
    top = "acme_of_this_test"
    assert set(files) == {top, f"{top}.losses", f"{top}.helpers", f"{top}.deep", f"{top}.deep.more"}
    assert set(own) == {"kernels", "kernels.labels"}
