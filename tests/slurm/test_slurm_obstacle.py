"""Without a cluster its tests are skipped, or fail where they are asked for; a lock of apt or dpkg is waited for."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from installation import obstacle, refuse
from timing import COMMAND_S

A_TEST = f"{Path(__file__).parent / 'test_slurm_doctor.py'}::test_partitions"
REASON = "no SLURM cluster can be brought up here: needs "


@pytest.fixture
def without_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither SLURM nor apt-get is on the path."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("CI", "ISOCLOCK_SLOW"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("without_slurm")
def test_without_a_cluster_tests_are_skipped_with_the_reason() -> None:
    with pytest.raises(pytest.skip.Exception, match=REASON):
        refuse(obstacle() or "")


@pytest.mark.usefixtures("without_slurm")
@pytest.mark.parametrize(("name", "value"), [("CI", "true"), ("ISOCLOCK_SLOW", "1")])
def test_where_they_are_asked_for_they_fail(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(pytest.fail.Exception, match=f"{REASON}.*with {name}={value} this is a failure"):
        refuse(obstacle() or "")


@pytest.mark.usefixtures("without_slurm")
def test_the_exit_status_is_not_0(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `make test-slurm` runs them."""
    outer = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "0", "-q", "-p", "no:cacheprovider", A_TEST],
        cwd=Path(__file__).parents[2],
        env={**outer, "ISOCLOCK_SLOW": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=4 * COMMAND_S,
        check=False,
    )
    assert done.returncode == 1, done.stdout
    assert "1 error" in done.stdout
    assert "skipped" not in done.stdout.splitlines()[-1]
    assert REASON in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "lock", ["/var/lib/apt/lists/lock", "/var/cache/apt/archives/lock", "/var/lib/dpkg/lock-frontend"]
)
def test_a_lock_of_the_package_manager_is_waited_for(lock: str) -> None:
    held_s = 4.0
    with Path(lock).open("w") as held:
        fcntl.lockf(held, fcntl.LOCK_EX | fcntl.LOCK_NB)  # of this process, and so not of the apt-get that it starts
        release = threading.Timer(held_s, fcntl.lockf, (held, fcntl.LOCK_UN))
        started = time.monotonic()
        release.start()
        # A program that is never there, so that packages are installed; that package is there already.
        assert obstacle(packages=["munge"], programs=["no-such-program"]) is None
        assert time.monotonic() - started >= held_s
        release.join()
