"""Problems on a node that the job of `isoclock doctor` finds, with real jobs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from examined import examined, write_site
from timing import limit_s

from cluster import Cluster

pytestmark = [pytest.mark.xdist_group("slurm"), pytest.mark.usefixtures("on_the_cluster")]

NOBODY, A_GROUP = 65534, 54321
# Everything is imported before privileges are dropped: the environment may be readable by its owner only.
AS_NOBODY = f"""
import json, os, sys
from dataclasses import asdict
from pathlib import Path
from isoclock.cluster.doctor_slurm import examine_cluster
os.setgroups([{A_GROUP}])
os.setgid({NOBODY})
os.setuid({NOBODY})
print(json.dumps([asdict(finding) for finding in examine_cluster(Path(sys.argv[1]))]))
"""


def test_a_gpu_that_the_job_does_not_see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prolog = tmp_path / "prolog"  # a site may have one, and what it prints changes the environment of each task
    prolog.write_text("#!/bin/sh\necho unset CUDA_VISIBLE_DEVICES\n")
    prolog.chmod(0o755)
    monkeypatch.setenv("SLURM_TASK_PROLOG", str(prolog))
    found = examined(tmp_path / "study", try_job=True, gpu_model="plain", gpu_as="gres")
    assert found["a GPU"].state == "wrong"
    assert "saw none" in found["a GPU"].found
    assert "try `gpu_as: gpu`" in found["a GPU"].advice
    assert found["shared folder"].state == "ok"


def test_a_folder_that_differs_on_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("/proc/self/cwd")  # a path that is another folder for each process, as a local disk is for each node
    found = examined(folder, try_job=True, gpu_model="plain")["shared folder"]
    assert found.state == "wrong"
    assert found.found.startswith(f"{folder} is another folder on ")
    assert not found.found.endswith("not found")
    assert "share" in found.advice
    assert [path.name for path in tmp_path.iterdir()] == ["workflow"], "nothing is left behind"


def test_a_folder_that_is_not_on_the_node(tmp_path: Path) -> None:
    opened = os.open(tmp_path, os.O_DIRECTORY)  # again a path that exists for this process only
    try:
        found = examined(Path(f"/proc/self/fd/{opened}"), try_job=True, gpu_model="plain")["shared folder"]
    finally:
        os.close(opened)
    assert found.state == "wrong"
    assert found.found.endswith("not found")


def test_a_folder_that_jobs_cannot_write(cluster: Cluster) -> None:
    """A group may write there that this login has but jobs do not: SLURM looks up the groups of a user itself."""
    folder = Path(tempfile.mkdtemp(prefix="study-", dir=cluster.folder))  # pytest's own folders are the owner's alone
    write_site(folder, gpu_model="plain")
    os.chown(folder, 0, A_GROUP)
    folder.chmod(0o775)
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(folder)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=limit_s(1),
        check=True,
    )
    found = {finding["what"]: finding for finding in json.loads(done.stdout)}
    assert found["a GPU"]["state"] == "ok", found
    assert found["shared folder"]["state"] == "wrong", found
    assert found["shared folder"]["found"].startswith(f"{folder} cannot be written on ")
    assert found["shared folder"]["advice"] == "jobs must write there"
