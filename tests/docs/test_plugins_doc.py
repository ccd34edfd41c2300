"""What docs/plugins.md shows, done: a method, an architecture and a data set that are plugins go through the verbs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from isoclock.cli.main import main
from isoclock.data.streets.make import make_streets
from isoclock.files import read_json
from plugin_study import shown
from tiny_study import SIZE, TinyStudy

pytestmark = pytest.mark.filterwarnings("ignore:.*random weights")
HERE = ("streets", "former")


def test_every_verb_takes_them(plugin_study: TinyStudy, capfd: pytest.CaptureFixture[str]) -> None:
    layout = plugin_study.layout
    assert main(["check", "--grid", "plugins"]) == 0
    assert main(["methods"]) == 0
    assert "Huber" in capfd.readouterr().out

    make_streets(plugin_study.folder / "data" / "streets", train=3, val=2, size=SIZE)
    assert main(["prepare", "roads"]) == 0
    assert read_json(layout.prepared("roads") / "index.json", "prepare")["classes"] == ["road", "other"]

    assert main(["teacher", "streets", "convformer-wide"]) == 0
    assert main(["plan", "--dry", "--grid", "plugins"]) == 0
    assert main(["plan", *HERE, "iteration-6"]) == 0
    for method in ("kd", "huber"):
        assert main(["profile", *HERE, method]) == 0
        assert read_json(layout.profile(*HERE, method), "profile")["gflops"]["total"] > 0
        assert main(["plan", *HERE, "iteration-6", method]) == 0
        assert main(["student", f"streets/former/{method}/iteration-6/0"]) == 0
        folder = layout.results / "student" / "streets" / "former" / method / "iteration-6" / "0"
        record = read_json(folder / "record.json", "student")
        assert (record["status"], record["iterations"]["done"]) == ("finished", 6)
        assert main(["evaluate", f"streets/former/{method}/iteration-6/0"]) == 0


def test_the_pages_tests_pass_in_the_study(plugin_study: TinyStudy) -> None:
    """With the package as it is installed for a user: pytest runs where nothing of this repository's tests is."""
    make_streets(plugin_study.folder / "data" / "streets", train=3, val=2, size=SIZE)
    (plugin_study.folder / "test_plugins.py").write_text(shown("python")[-1])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_plugins.py"]
    done = subprocess.run(command, cwd=plugin_study.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "14 passed" in done.stdout


def test_the_page_names_the_folders_that_are_searched(plugin_study: TinyStudy) -> None:
    found = sorted(str(path.relative_to(plugin_study.folder)) for path in Path("plugins").resolve().rglob("*.py"))
    assert found == ["plugins/methods/huber.py", "plugins/models/convformer.py", "plugins/readers/roads.py"]
