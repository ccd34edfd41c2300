"""What is marked as a group runs in one worker: groups share a study, a cluster or a machine's quiet."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

GROUPS = """\
import os

import pytest


@pytest.mark.parametrize("group", [pytest.param(n, marks=pytest.mark.xdist_group(n)) for n in ("a", "b")])
@pytest.mark.parametrize("number", range(6))
def test_note(group, number):
    with open(group, "a") as notes:
        notes.write(os.environ["PYTEST_XDIST_WORKER"] + "\\n")
"""


def test_a_group_stays_in_one_worker(tmp_path: Path) -> None:
    """As `make test` starts them; with pytest 9.2 and pytest-xdist 3.8 the marks are passed over without a word."""
    (tmp_path / "test_group.py").write_text(GROUPS)
    outer = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadgroup", "test_group.py"]
    subprocess.run(command, cwd=tmp_path, env=outer, check=True, capture_output=True, timeout=120)
    for group in ("a", "b"):
        workers = (tmp_path / group).read_text().split()
        assert len(workers) == 6
        assert len(set(workers)) == 1, f"group {group} was torn apart"
