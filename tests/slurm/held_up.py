"""Not collected with the others: a cluster with a job and a process of its own, until something ends this pytest."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from processes import wait
from timing import COMMAND_S

from cluster import Cluster


def test_stays(cluster: Cluster) -> None:
    cluster.ask("sbatch", "-o", "/dev/null", "--mem=50", "--wrap", "sleep 1000")
    assert wait(lambda: "RUNNING" in cluster.jobs().values(), COMMAND_S)
    # As Snakemake is started: in a session of its own.
    subprocess.Popen(["sleep", "1001"], env=cluster.environment, start_new_session=True)
    running = Path(os.environ["RUNNING"])
    running.with_suffix(".part").write_text(str(cluster.folder))
    running.with_suffix(".part").rename(running)
    time.sleep(1000)
