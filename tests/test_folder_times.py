"""The table at the end of a test run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from folder_times import seconds_by_folder


def test_phases_of_a_test_are_added_up_and_the_longest_folder_is_first() -> None:
    reports = [("tests/a/test_x.py::t", 0.5), ("tests/a/test_x.py::t", 1.0), ("tests/b/test_y.py::u[a/b]", 2.0)]
    assert list(seconds_by_folder(reports).items()) == [("tests/b", (2.0, 1)), ("tests/a", (1.5, 1))]


def test_a_run_ends_with_it(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "test_one.py").write_text("def test_it(): pass\n")
    command = [sys.executable, "-m", "pytest", "-p", "folder_times", "-p", "no:cacheprovider", "-q", str(tmp_path)]
    output = subprocess.run(
        command,
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert output.returncode == 0, output.stdout + output.stderr
    assert "time by folder" in output.stdout
    assert "1 tests  sub" in output.stdout
