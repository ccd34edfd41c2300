"""Time limits of a QOS and of an account, on a cluster that enforces them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from examined import examined
from processes import wait
from timing import COMMAND_S

from cluster import Cluster
from isoclock.cluster import slurm
from isoclock.cluster.site import Site

pytestmark = [pytest.mark.xdist_group("slurm"), pytest.mark.slow]


@pytest.fixture
def with_limits(accounted: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """An account `lab` with jobs of ten hours, and its QOS `brief` of two and `day` of 24. Scenarios use another account."""
    for name, value in accounted.environment.items():
        monkeypatch.setenv(name, value)

    def change(*arguments: str) -> None:
        accounted.ask("sacctmgr", "-i", "-Q", *arguments)

    change("add", "qos", "brief", "MaxWall=2:00:00")
    change("add", "qos", "day", "MaxWall=1-00:00:00")
    change("add", "account", "lab", "MaxWall=10:00:00")
    change("add", "user", "root", "account=lab", "qos=brief,day,normal", "DefaultQOS=normal")
    yield accounted
    change("delete", "user", "root", "account=lab")
    change("delete", "account", "lab")
    change("delete", "qos", "brief", "day")


def a_site(**values: object) -> Site:
    return Site.model_validate({"partition": "gpu", "account": "lab", **values})


def test_a_job_asks_for_no_more_than_its_qos_and_account_give(with_limits: Cluster, tmp_path: Path) -> None:
    lab = {"partition gpu": 1440, "account lab": 600}
    assert a_site().limits_min == lab
    assert a_site(qos="day").limits_min == a_site(account=None, qos="day").limits_min == {**lab, "QOS day": 1440}
    assert a_site(qos="brief").limits_min == {**lab, "QOS brief": 120}
    assert a_site(qos="brief").job_min(1434) == 120
    assert a_site(account="root").limits_min == {"partition gpu": 1440}
    found = examined(tmp_path, account="lab", qos="brief")["partition"]
    assert found.found == "gpu: jobs of up to 1440 min, 600 by account lab, 120 by QOS brief"


def test_the_default_qos_of_an_account_counts(with_limits: Cluster) -> None:
    with_limits.ask("sacctmgr", "-i", "-Q", "modify", "user", "root", "where", "account=lab", "set", "DefaultQOS=brief")
    assert a_site().limit_min == 120
    assert a_site(qos="day").limit_min == 600


def test_slurm_keeps_a_longer_job_pending(with_limits: Cluster) -> None:
    """Which is why a job must not ask for more."""
    numbers = []
    for limit in (120, 121):
        options = ["-A", "lab", "-q", "brief", "-t", str(limit), "--mem=50", "-o", "/dev/null"]
        numbers.append(int(with_limits.ask("sbatch", "--parsable", *options, "--wrap", "sleep 100")))
    assert wait(lambda: with_limits.jobs()[numbers[0]] == "RUNNING", COMMAND_S)
    reason = with_limits.ask("squeue", "-h", "-j", str(numbers[1]), "-o", "%r")
    with_limits.ask("scancel", *map(str, numbers))
    assert wait(lambda: not set(numbers) & set(with_limits.jobs()), COMMAND_S)
    assert reason == "QOSMaxWallDurationPerJobLimit"


@pytest.mark.usefixtures("on_the_cluster")
def test_without_accounting_there_are_no_such_limits() -> None:
    assert slurm.wall_limits(None, "brief", None) == {}
