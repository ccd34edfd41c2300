"""Where no cluster can be brought up, its tests are skipped with the reason; under CI=true they fail, so that nobody takes a
green run for a tested one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

A_TEST = f"{Path(__file__).parent / 'test_slurm_doctor.py'}::test_partitions_as_they_are"
TOLD = "no SLURM cluster can be brought up here: needs "


def without_slurm(folder: Path, ci: str) -> tuple[int, str]:
    """Exit status and output of pytest where neither SLURM nor apt-get is on the path."""
    outer = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "0", "-q", "-p", "no:cacheprovider", A_TEST],
        cwd=Path(__file__).parents[2],
        env={**outer, "PATH": str(folder), "CI": ci},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout


def test_they_are_skipped(tmp_path: Path) -> None:
    status, told = without_slurm(tmp_path, ci="")
    assert status == 0, told
    assert "1 skipped" in told
    assert TOLD in told


def test_in_continuous_integration_that_is_a_failure(tmp_path: Path) -> None:
    status, told = without_slurm(tmp_path, ci="true")
    assert status == 1, told
    assert "1 error" in told
    assert "1 skipped" not in told
    assert TOLD in told
    assert "under CI=true this is no reason to skip" in told
