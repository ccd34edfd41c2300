"""`isoclock doctor` as it is typed, in a study's folder on a cluster's head node."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from clone import ROOT, Clone
from scenario import OnCluster

from cluster import Cluster

pytestmark = [pytest.mark.xdist_group("slurm"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def study(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> OnCluster:
    clone = Clone.make(tmp_path_factory.mktemp("doctor") / "study")
    shutil.copy2(ROOT / "requirements.lock", clone.folder)
    return OnCluster(clone, cluster)


def doctor(study: OnCluster) -> tuple[int, dict[str, str], str]:
    """Exit status, mark of each row, and all that is printed."""
    # Where nobody has to set it: the executor drops it, and `doctor` minds that.
    environment = {name: value for name, value in study.environment.items() if name != "SLURM_CONF"}
    done = subprocess.run(
        ["isoclock", "doctor"],
        cwd=study.clone.folder,
        env={**environment, "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=200,
        check=False,
    )
    rows, _, _ = done.stdout.partition("\n\n")
    marks = {what: mark for mark, what in re.findall(r"^(ok|mind|wrong|-) +(\S.*?)  +", rows, re.MULTILINE)}
    return done.returncode, marks, done.stdout


def test_where_all_is_in_order_its_status_is_0(study: OnCluster) -> None:
    study.settle()
    status, marks, told = doctor(study)
    assert status == 0, told
    # In a container, a temporary folder ends with it, and `doctor` says so.
    folders = {marks.pop(f"{name}/") for name in ("runs", "results")}
    assert folders <= {"ok", "mind"}, told
    assert set(marks.values()) == {"ok"}, told
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


def test_where_something_is_wrong_it_says_what_to_change_and_its_status_is_2(study: OnCluster) -> None:
    study.settle(partition="gpus")
    status, marks, told = doctor(study)
    assert status == 2, told
    assert marks["partition"] == marks["a GPU"] == "wrong", told
    assert marks["job states"] == "ok", "the rest is looked at all the same"
    assert "gpus: not there" in told
    assert re.search(r"^wrong partition: workflow/profiles/slurm/site.yaml: name one of gpu, ", told, re.MULTILINE), (
        told
    )
    assert "Traceback" not in told
