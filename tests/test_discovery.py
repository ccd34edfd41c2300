"""Methods, architectures and readers are found in the package, in the study's plugins/ and by entry points."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from isoclock.cli.main import main
from isoclock.discovery import PACKAGE, sources
from isoclock.errors import UserError
from isoclock.methods import available, build_method
from isoclock.models import ChannelSpec
from tiny_study import TinyStudy

HUBER = """\
from isoclock.methods import Method


class Huber(Method):
    title = "Huber"
    source = "ours"
    terms = ("huber",)

    def compute(self, student, teacher, batch, draw):
        return {"huber": (student.logits - teacher.logits).square().mean()}
"""


@pytest.fixture
def plugins(empty_study: TinyStudy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """plugins/ of a study that is the working directory, with the three folders and nothing in them."""
    monkeypatch.chdir(empty_study.folder)
    folder = empty_study.folder / "plugins"
    for kind in ("methods", "models", "readers"):
        (folder / kind).mkdir(parents=True)
    yield folder
    for module in [name for name in sys.modules if name.startswith("isoclock.plugins.")]:
        del sys.modules[module]


@pytest.mark.parametrize("kind", ["methods", "models", "readers"])
def test_what_the_package_has_is_in_the_package(kind: str) -> None:
    found = sources(kind)
    assert found
    assert all(source.path.is_relative_to(PACKAGE) and source.path.is_file() for source in found.values())
    assert list(found) == sorted(found)


def test_a_plugin_is_found_and_built(plugins: Path) -> None:
    (plugins / "methods" / "huber.py").write_text(HUBER)
    (plugins / "methods" / "_shared.py").write_text("X = 1\n")
    assert {"huber", "kd"} <= set(available())
    assert "_shared" not in available()
    channels = ChannelSpec(2, 2)
    method = build_method("huber", student=channels, teacher=channels, num_classes=3, dataset_size=1)
    assert type(method).__module__ == "isoclock.plugins.methods.huber"
    assert method.card().name == "huber"


def test_a_plugin_may_be_a_folder_and_import_its_neighbours(plugins: Path) -> None:
    (plugins / "methods" / "_facts.py").write_text("FACTOR = 3\n")
    (plugins / "methods" / "soft").mkdir()
    code = HUBER.replace("class Huber", "from .._facts import FACTOR\nfrom .inner import TERM\n\n\nclass Soft")
    (plugins / "methods" / "soft" / "__init__.py").write_text(code)
    (plugins / "methods" / "soft" / "inner.py").write_text("TERM = 'huber'\n")
    module = sys.modules[sources("methods")["soft"].load().__module__]
    assert (module.FACTOR, module.TERM) == (3, "huber")


def test_every_process_of_a_study_imports_a_plugin_by_the_same_name(plugins: Path) -> None:
    """So that what one process pickles another can load, as loader processes do."""
    (plugins / "methods" / "huber.py").write_text(HUBER)
    sent = pickle.dumps(sources("methods")["huber"].load())
    code = f"import pickle; print(pickle.loads({sent!r}).title)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=plugins.parent, capture_output=True, text=True, check=False)
    assert done.stdout == "Huber\n", done.stderr


def test_a_folder_that_is_no_study_has_no_plugins(plugins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (plugins / "methods" / "huber.py").write_text("not even python")
    monkeypatch.chdir(plugins)
    assert "kd" in available()


WRONG = {
    "not python": ("methods", "broken", "def f(:\n", ["methods/broken.py:1: cannot be parsed (invalid syntax"]),
    "no method": ("methods", "empty", "X = 1\n", ["methods/empty.py: defines no empty", "isoclock.methods.Method"]),
    "no architecture": ("models", "net", "class Net: ...\n", ["models/net.py: defines no net", "models.Segmenter"]),
    "no reader": ("readers", "mine", "READERS = 1\n", ["readers/mine.py: defines no mine", "assignment to READER"]),
    "two methods": (
        "methods",
        "two",
        HUBER + HUBER.replace("class Huber", "class Hubert"),
        ["Huber, Hubert; keep one"],
    ),
    "facts missing": (
        "methods",
        "huber",
        HUBER.replace("    terms", "    words"),
        ["methods/huber.py:", ": class Huber: terms is missing"],
    ),
    "no literal": ("methods", "huber", HUBER.replace('("huber",)', 'tuple("a")'), ["terms must be a literal"]),
    "no taps": (
        "models",
        "net",
        "class Net(Segmenter):\n    output_stride = 8\n    taps = {'backbone': 8}\n",
        ["models/net.py: class Net: taps has no head, which methods read"],
    ),
    "taps without strides": (
        "models",
        "net",
        "class Net(Segmenter):\n    output_stride = 8\n    taps = ('backbone', 'head')\n",
        ["taps must be a dict, not ('backbone', 'head')"],
    ),
    "a repository without values": (
        "models",
        "net",
        "class Net(Segmenter):\n    output_stride = 8\n    taps = {'backbone': 8, 'head': 8}\n    imagenet = 'acme/net'\n",
        ["class Net: imagenet must be {parameter: {value: repository of the hub}}"],
    ),
    "a rule that is none": (
        "methods",
        "huber",
        HUBER.replace("    terms", "    params = {'delta': {'type': 'float'}}\n    terms"),
        ["params.delta: {'type': 'float'}: must be a rule"],
    ),
    "a default out of range": (
        "methods",
        "huber",
        HUBER.replace("    terms", "    params = {'delta': {'type': 'number', 'above': 0, 'default': 0}}\n    terms"),
        ["params.delta: default 0: must be above 0"],
    ),
    "name of ours": ("methods", "kd", HUBER, ["plugins/methods/kd.py: 'kd' is also defined in", "methods/kd.py"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_plugin_is_one_line_with_its_path(plugins: Path, case: str, capfd: pytest.CaptureFixture[str]) -> None:
    kind, name, content, expected = WRONG[case]
    (plugins / kind / f"{name}.py").write_text(content)
    assert main(["check"]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert str(plugins / kind / f"{name}.py") in line
    assert all(part in line for part in expected), line


def test_an_import_that_fails_is_one_line_with_its_path(plugins: Path) -> None:
    path = plugins / "methods" / "huber.py"
    path.write_text("import no_such_library\n" + HUBER)
    with pytest.raises(
        UserError, match=r"^plugins/methods/huber\.py:1: cannot be imported \(ModuleNotFound.*no_such_library"
    ):
        sources("methods")["huber"].load()


def test_an_entry_points_distribution_is_found(tmp_path: Path, empty_study: TinyStudy) -> None:
    """A distribution as an installer leaves it, made by hand; in a process of its own, for what is installed is read once."""
    package = tmp_path / "site" / "acme"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "losses.py").write_text(HUBER + HUBER.replace("class Huber", "class Hubert"))
    info = tmp_path / "site" / "acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    entry_points = info / "entry_points.txt"
    entry_points.write_text("[isoclock.methods]\nacme-huber = acme.losses:Hubert\n")

    def run(code: str) -> subprocess.CompletedProcess[str]:
        paths = [str(tmp_path / "site"), str(PACKAGE.parent)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
        command = [sys.executable, "-c", code]
        return subprocess.run(
            command, cwd=empty_study.folder, env=environment, capture_output=True, text=True, check=False
        )

    found = run(
        "import sys\n"
        "from isoclock.methods import cards\n"
        "card = cards()['acme-huber']\n"
        "print(card.class_name, card.defined.path, 'acme' in sys.modules, 'torch' in sys.modules)\n"
        "print(card.defined.load().card().name)"
    )
    assert found.stdout.splitlines() == [f"Hubert {package / 'losses.py'} False False", "acme-huber"], found.stderr
    check = "from isoclock.cli.main import main; raise SystemExit(main(['check']))"
    assert run(check).returncode == 0
    for line, message in (
        ("kd = acme.losses:Huber", "'kd' is also defined in"),
        ("other = acme.no_such_module:Huber", "entry point 'other' of acme: there is no module acme.no_such_module"),
        ("other = acme.losses:Missing", "defines no Missing"),
    ):
        entry_points.write_text(f"[isoclock.methods]\n{line}\n")
        done = run(check)
        assert done.returncode == 2
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1
