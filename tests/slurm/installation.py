"""SLURM's programs on this machine, installed from Debian's packages where they are missing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest
from timing import INSTALL_S

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "slurm-wlm-basic-plugins", "munge")
LOCKED = re.compile("could not get lock|unable to acquire the dpkg frontend lock|unable to lock", re.IGNORECASE)
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "munged")


def obstacle(packages: Sequence[str] = PACKAGES, programs: Sequence[str] = PROGRAMS) -> str | None:
    """Why no cluster can be brought up here; None if it can. Installs Debian's packages where they are missing."""
    if os.name != "posix" or not Path("/proc/self/status").exists():
        return "needs Linux"
    if os.geteuid() != 0:
        return "needs root, to install SLURM and to start jobs"
    if all(shutil.which(program) for program in programs):
        return None
    if shutil.which("apt-get") is None:
        return f"needs {', '.join(programs)}, and there is no apt-get to install them with"
    for command in (
        ("apt-get", "update", "-qq"),
        ("apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages),
    ):
        problem = _apt(command)
        if problem:
            return f"{' '.join(command[:2])} failed: {problem}"
    return None


def refuse(reason: str) -> NoReturn:
    """Skip the test; fail it where tests of the cluster are asked for, by CI=true or `make test-slurm` (ISOCLOCK_SLOW=1)."""
    message = f"no SLURM cluster can be brought up here: {reason}"
    for name in ("CI", "ISOCLOCK_SLOW"):
        if os.environ.get(name, "").lower() in ("true", "1"):
            pytest.fail(f"{message} (with {name}={os.environ[name]} this is a failure)")
    pytest.skip(message)


def _apt(command: Sequence[str]) -> str | None:
    """Run apt-get; the last line of its error. Waits while another one holds a lock of apt or dpkg."""
    # In runlevel 1, Debian's packages start no daemons.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1", "LC_ALL": "C"}
    deadline = time.monotonic() + INSTALL_S
    while True:
        try:
            done = subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=INSTALL_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"did not end within {INSTALL_S:.0f} s"
        if done.returncode == 0:
            return None
        if not LOCKED.search(done.stderr) or time.monotonic() > deadline:
            return (done.stderr.strip().splitlines() or ["no message"])[-1]
        time.sleep(1)
