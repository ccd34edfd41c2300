"""Without a cluster, its tests are skipped with the reason; under CI=true they fail, so that a passing run has tested them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

A_TEST = f"{Path(__file__).parent / 'test_slurm_doctor.py'}::test_partitions"
REASON = "no SLURM cluster can be brought up here: needs "


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


def test_cluster_tests_are_skipped(tmp_path: Path) -> None:
    status, output = without_slurm(tmp_path, ci="")
    assert status == 0, output
    assert "1 skipped" in output
    assert REASON in output


def test_in_ci_they_fail(tmp_path: Path) -> None:
    status, output = without_slurm(tmp_path, ci="true")
    assert status == 1, output
    assert "1 error" in output
    assert "1 skipped" not in output
    assert REASON in output
    assert "under CI=true this is a failure" in output
