"""`isoclock doctor` checks that Snakemake can find out how a job ended, on clusters with short and long MinJobAge."""

from __future__ import annotations

from pathlib import Path

import pytest
from examined import examined, write_site

from cluster import Cluster

pytestmark = pytest.mark.xdist_group("slurm")
INIT = "slurm-init-seconds-before-status-checks"


def use(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)


def test_a_short_min_job_age_without_accounting_is_wrong(
    tmp_path: Path, forgetful: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(forgetful, monkeypatch)
    found = examined(tmp_path)["job states"]
    assert found.state == "wrong"
    assert found.found == "squeue lists ended jobs for 60 s (MinJobAge), sacct has no database"
    assert "MinJobAge >= 120 s" in found.advice
    assert "waits forever without a message" in found.advice
    advised = f"{INIT}: 20"
    assert advised in found.advice
    (write_site(tmp_path) / "profile.yaml").write_text(f"{advised}\n")
    assert examined(tmp_path)["job states"].state == "ok", "the advice helps"


@pytest.mark.slow
def test_a_short_min_job_age_with_accounting_is_a_warning(
    tmp_path: Path, accounted: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(accounted, monkeypatch)
    # It lists ended jobs for an hour, but is asked later.
    (write_site(tmp_path) / "profile.yaml").write_text(f"{INIT}: 1500\n")
    found = examined(tmp_path)["job states"]
    assert found.state == "warn"
    assert found.found == "squeue lists ended jobs for 3600 s (MinJobAge), sacct works"
    assert f"MinJobAge >= 4500 s for squeue: ask for it, or set in the profile {INIT}: 1200" in found.advice
    assert "waits forever for a cancelled job" in found.advice


@pytest.mark.slow
def test_an_accounting_database_is_found(tmp_path: Path, accounted: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    use(accounted, monkeypatch)
    found = examined(tmp_path, account="lab")
    assert found["job states"].state == found["account"].state == "ok"
    assert "sacct works" in found["job states"].found
    assert found["account"].found == "lab"
