"""Whether Snakemake gets to know how a job ended, as `isoclock doctor` finds it on clusters that remember and forget."""

from __future__ import annotations

from pathlib import Path

import pytest
from examined import examined, write_site

from cluster import Cluster

pytestmark = [pytest.mark.xdist_group("slurm"), pytest.mark.timeout(300)]
INIT = "slurm-init-seconds-before-status-checks"


def use(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)


def test_a_cluster_that_forgets_and_does_not_account_makes_snakemake_wait_for_ever(
    tmp_path: Path, forgetful: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(forgetful, monkeypatch)
    found = examined(tmp_path)["job states"]
    assert found.state == "wrong"
    assert found.found == "squeue remembers jobs for 60 s (MinJobAge), sacct has no database"
    assert "MinJobAge >= 120 s" in found.advice
    assert "waits for ever without a word" in found.advice
    advised = f"{INIT}: 20"
    assert advised in found.advice
    (write_site(tmp_path) / "profile.yaml").write_text(f"{advised}\n")
    assert examined(tmp_path)["job states"].state == "ok", "the advice helps"


@pytest.mark.slow
def test_a_cluster_that_forgets_and_accounts_is_minded(
    tmp_path: Path, accounted: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(accounted, monkeypatch)
    # It remembers for an hour, and is asked after that.
    (write_site(tmp_path) / "profile.yaml").write_text(f"{INIT}: 1500\n")
    found = examined(tmp_path)["job states"]
    assert found.state == "warn"
    assert found.found == "squeue remembers jobs for 3600 s (MinJobAge), sacct works"
    assert f"MinJobAge >= 4500 s for squeue: ask for it, or set in the profile {INIT}: 1200" in found.advice
    assert "waits for ever for a cancelled job" in found.advice


@pytest.mark.slow
def test_an_accounting_database_is_found(tmp_path: Path, accounted: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    use(accounted, monkeypatch)
    found = examined(tmp_path, account="lab")
    assert found["job states"].state == found["account"].state == "ok"
    assert "sacct works" in found["job states"].found
    assert found["account"].found == "lab"
