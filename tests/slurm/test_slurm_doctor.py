"""`isoclock doctor` on a real SLURM."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from examined import examined
from settings import GPUS

from cluster import Cluster
from isoclock.cluster import slurm
from isoclock.cluster.site import Site

pytestmark = [pytest.mark.xdist_group("slurm"), pytest.mark.usefixtures("on_the_cluster")]


def test_a_valid_site_is_ok_and_a_gpu_is_granted(tmp_path: Path) -> None:
    found = examined(tmp_path, try_job=True, gpu_model="plain")
    found.pop("SLURM_CONF")
    assert {finding.state for finding in found.values()} == {"ok"}, found
    assert "squeue lists ended jobs for 3600 s" in found["job states"].found
    assert "sacct has no database" in found["job states"].found
    assert found["partition"].found == "gpu: jobs of up to 1440 min"
    assert "CUDA_VISIBLE_DEVICES=" in found["a GPU"].found
    assert "visible and writable" in found["shared folder"].found
    assert [path.name for path in tmp_path.iterdir()] == ["workflow"], "nothing is left behind"


@pytest.mark.parametrize(
    ("site", "what", "state", "advice"),
    [
        ({"partition": "FILL-IN"}, "site file", "wrong", "partitions here: gpu, "),
        ({"partition": "gpus"}, "partition", "wrong", "choose from gpu, "),
        ({"partition": "closed"}, "partition", "wrong", "choose another of"),
        ({"account": "lab"}, "account", "wrong", "account: null"),
        ({"partition": "doomed"}, "preemption", "warn", "Snakemake waits for it forever"),
        ({"partition": "hunted"}, "preemption", "ok", "spare_retries: 2"),
        ({"gpu_model": "h100"}, "a GPU", "wrong", "sbatch --test-only"),
        ({"constraint": "fast"}, "a GPU", "wrong", "sbatch --test-only"),
        ({"job_limit_min": 10}, "partition", "wrong", "longer jobs"),
        ({"gpu_as": "cuda"}, "site file", "wrong", "fix it"),
    ],
)
def test_problems_are_reported_with_advice(
    site: dict[str, object], what: str, state: str, advice: str, tmp_path: Path
) -> None:
    found = examined(tmp_path, **site)[what]
    assert found.state == state
    assert advice in found.advice


def test_a_controller_that_is_down_is_reported(
    tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = (cluster.folder / "slurm.conf").read_text()
    elsewhere = re.sub(r"SlurmctldPort=\d+", "SlurmctldPort=1", settings) + "MessageTimeout=1\n"
    (tmp_path / "slurm.conf").write_text(elsewhere)
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    found = examined(tmp_path)
    assert found.keys() == {"SLURM"}
    assert found["SLURM"].state == "wrong"
    assert "DOWN" in found["SLURM"].found


def test_slurm_conf_is_a_warning_because_srun_does_not_get_it(tmp_path: Path) -> None:
    assert examined(tmp_path)["SLURM_CONF"].state == "warn"


def test_partitions() -> None:
    found = {one.name: one for one in slurm.partitions()}
    assert next(iter(found)) == "gpu", "the default one comes first"
    assert slurm.partition(None) == found["gpu"] == slurm.Partition("gpu", True, 1440, "OFF", 0)
    assert found["doomed"] == slurm.Partition("doomed", True, 720, "CANCEL", 60)
    assert (found["closed"].up, found["closed"].limit_min) == (False, 30)
    assert slurm.partition("gpu,closed") == found["closed"], "the shortest limit holds for both"
    assert slurm.partition("none") is None


def test_a_job_asks_for_no_more_than_its_partition_gives() -> None:
    assert Site(partition="doomed", account=None).limit_min == 720
    assert Site(partition="doomed", account=None, job_limit_min=100).limit_min == 100
    assert Site(partition=None, account=None).at_most(5000) == 1440


@pytest.mark.parametrize("gpu_as", ["gpu", "gres"])
def test_both_ways_to_ask_for_a_gpu_are_granted(gpu_as: str, cluster: Cluster) -> None:
    for kind in (None, *GPUS):
        options = Site.model_validate(
            {"partition": "gpu", "account": None, "gpu_as": gpu_as, "gpu_model": kind}
        ).options
        seen = cluster.ask("srun", *options, "-t", "1", "--mem=50", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES")
        assert 0 <= int(seen) < sum(GPUS.values())
