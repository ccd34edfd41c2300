"""`isoclock doctor` from the command line, in a study folder on the head node of a cluster."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from clone import ROOT, Clone
from scenario import OnCluster
from timing import limit_s

from cluster import Cluster

pytestmark = pytest.mark.xdist_group("slurm")


@pytest.fixture(scope="module")
def study(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> OnCluster:
    clone = Clone.make(tmp_path_factory.mktemp("doctor") / "study")
    shutil.copy2(ROOT / "requirements.lock", clone.folder)
    return OnCluster(clone, cluster)


def doctor(study: OnCluster) -> tuple[int, dict[str, str], str]:
    """Exit status, mark of each row, and all that is printed."""
    # Without SLURM_CONF: the executor drops it, and `doctor` warns about it.
    environment = {name: value for name, value in study.environment.items() if name != "SLURM_CONF"}
    done = subprocess.run(
        ["isoclock", "doctor"],
        cwd=study.clone.folder,
        env={**environment, "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=limit_s(1),
        check=False,
    )
    rows, _, _ = done.stdout.partition("\n\n")
    marks = {what: mark for mark, what in re.findall(r"^(ok|warn|wrong|-) +(\S.*?)  +", rows, re.MULTILINE)}
    return done.returncode, marks, done.stdout


def test_without_problems_its_status_is_0(study: OnCluster) -> None:
    study.settle()
    status, marks, output = doctor(study)
    assert status == 0, output
    # In a container, temporary folders are lost with it, and `doctor` warns about that.
    folders = {marks.pop(f"{name}/") for name in ("runs", "results")}
    assert folders <= {"ok", "warn"}, output
    assert set(marks.values()) == {"ok"}, output
    assert marks.keys() >= {
        "Python",
        "packages",
        "MLflow",
        "SLURM",
        "job states",
        "partition",
        "a GPU",
        "shared folder",
    }
    assert not list(study.clone.folder.glob("**/.doctor-*")), "nothing is left behind"


def test_with_problems_it_gives_advice_and_its_status_is_2(study: OnCluster) -> None:
    study.settle(partition="gpus")
    status, marks, output = doctor(study)
    assert status == 2, output
    assert marks["partition"] == marks["a GPU"] == "wrong", output
    assert marks["job states"] == "ok", "the other checks still run"
    assert "gpus: not found" in output
    assert re.search(r"^wrong partition: workflow/profiles/slurm/site.yaml: choose from gpu, ", output, re.MULTILINE), (
        output
    )
    assert "Traceback" not in output
