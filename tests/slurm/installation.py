"""SLURM's programs on this machine, installed from Debian's packages where they are missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "slurm-wlm-basic-plugins", "munge")
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
        try:
            # In runlevel 1, Debian's packages start no daemons.
            environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
            done = subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"{' '.join(command[:2])} did not end within 300 s"
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            return f"{' '.join(command[:2])} failed: {last}"
    return None
