"""The table of targets at the end of `make test-faults`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from fault_targets import TARGETS

TESTS = f"""\
import pytest

@pytest.mark.target({TARGETS[2]!r})
@pytest.mark.parametrize("kills", [20, 30])
def test_kills(kills, record_property):
    record_property("cases", kills)
    record_property("found", f"{{kills}} resumed")

@pytest.mark.target({TARGETS[5]!r})
@pytest.mark.parametrize("holders", [1, 2])
def test_races(holders):
    assert holders == 1

@pytest.mark.slow
@pytest.mark.target({TARGETS[6]!r})
@pytest.mark.target({TARGETS[7]!r})
def test_slow():
    pass

@pytest.mark.target({TARGETS[8]!r})
def test_moved():
    pass

def test_of_something_else():
    assert False
"""


def run(folder: Path, tests: str, *options: str) -> str:
    """What pytest prints for a file with these tests."""
    (folder / "test_some.py").write_text(tests)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "fault_targets",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
    ]
    environment = {"PYTHONPATH": str(Path(__file__).parent), "COLUMNS": "200"}
    done = subprocess.run(
        [*command, *options], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def test_each_target_has_a_row(tmp_path: Path) -> None:
    output = run(tmp_path, TESTS, "--targets", "-n", "1")  # a report of another process has the target too
    rows = {line[: len(max(TARGETS, key=len))].strip(): line for line in output.partition("asked")[2].splitlines()}
    assert rows.keys() >= set(TARGETS)
    assert rows[TARGETS[0]].split()[-3:] == ["0", "not", "run"]
    assert rows[TARGETS[2]].endswith("50  20 resumed; 30 resumed")
    assert rows[TARGETS[5]].endswith(" 1  FAILED: test_some.py::test_races[2]")
    for slow in TARGETS[6:8]:
        assert rows[slow].endswith("0  not run (takes minutes: ISOCLOCK_SLOW=1, or make test-faults)")
    assert rows[TARGETS[8]].endswith(" 1  as asked")
    assert "something_else" not in output, "only tests with a target run"


def test_an_unknown_target_is_refused(tmp_path: Path) -> None:
    output = run(tmp_path, "import pytest\n\n@pytest.mark.target('a typo')\ndef test_it(): pass\n")
    assert "unknown target 'a typo'; choose from" in output
