"""How long everything on a test's cluster may take: what it needs, on this machine, with what else runs there.

All time limits of this folder come from here.
"""

from __future__ import annotations

import os
import time

# CPU seconds, measured on a Xeon (2.1 GHz) whose `_spin` took SPIN_S: a job starts Snakemake twice and isoclock once; a run
# starts Snakemake once.
SPIN_S = 0.011
JOB_CPU_S = 24.0
RUN_CPU_S = 8.0
JOB_WAITS_S = 15.0  # for SLURM and for Snakemake's next look at its jobs, however fast the machine is
SPARE = 2.0

AT_ONCE = 5  # scenarios; with more of them, jobs only start later


def _spin() -> float:
    started = time.process_time()
    sum(number * number for number in range(200_000))
    return time.process_time() - started


def _slowness() -> float:
    busy = AT_ONCE + os.getloadavg()[0]
    return min(_spin() for _ in range(3)) / SPIN_S * max(1.0, busy / len(os.sched_getaffinity(0)))


SLOWNESS = _slowness()
"""Seconds that a CPU second of that Xeon takes here, while other scenarios and processes use the same cores."""

COMMAND_S = 30 * max(1.0, SLOWNESS)
"""For a command of SLURM's, or a daemon to start: each takes a second or two, at most MessageTimeout (10)."""

INSTALL_S = 300.0
"""For a command of apt-get, and for another process to release its lock: a few MB; with MariaDB, a hundred."""


def limit_s(jobs: int, waits_s: float = 0.0) -> float:
    """For a run of that many jobs, one after another, which waits that long for things other than the CPU."""
    return SPARE * (SLOWNESS * (RUN_CPU_S + jobs * JOB_CPU_S) + jobs * JOB_WAITS_S) + waits_s
