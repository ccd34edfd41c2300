from __future__ import annotations

import sys
from pathlib import Path

import pytest

from isoclock.cluster import slurm
from isoclock.cluster.slurm import Answer, ask, minutes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("UNLIMITED", None),
        ("infinite", None),
        ("1-00:00:00", 1440),
        ("12:00:00", 720),
        ("00:30:00", 30),
        ("30:00", 30),
        ("45", 45),
        ("2-12", 3600),
        ("1-06:30", 1830),
        ("365-00:00:00", 525_600),
    ],
)
def test_time_formats(text: str, expected: int | None) -> None:
    assert minutes(text) == expected


def test_an_invalid_time_is_an_error() -> None:
    with pytest.raises(ValueError, match="soon"):
        minutes("soon")


def test_without_slurm_results_are_empty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not slurm.available()
    assert ask("scontrol", "ping") is None
    assert slurm.partitions() == []
    assert slurm.partition("gpu") is None
    assert slurm.configuration() == {}


def test_a_command_that_does_not_end_times_out() -> None:
    answer = ask(sys.executable, "-c", "import time; time.sleep(60)", timeout_s=0.2)
    assert answer is not None
    assert answer.status == 124
    assert answer.error == "no answer within 0 s"


def test_an_error_is_the_first_line_without_the_command_name() -> None:
    assert Answer(1, "sbatch: error: invalid partition\nsbatch: error: more\n").error == "invalid partition"
    assert Answer(3, "\n").error == "exit status 3"


RECORDED = {
    "scontrol": "AccountingStorageEnforce = associations,limits,qos\nClusterName = here",
    "assoc": "root|||\nlab|normal|brief,day,normal|10:00:00",
    "assoc account=lab": "lab|normal|brief,day,normal|10:00:00",
    "qos": "normal|\nbrief|02:00:00\nday|1-00:00:00\nnight|08:00:00",
}


@pytest.mark.parametrize(
    ("account", "qos", "partition_qos", "limits"),
    [
        (None, None, None, {"account lab": 600}),
        ("lab", None, None, {"account lab": 600}),
        ("lab", "day", None, {"account lab": 600, "QOS day": 1440}),
        ("lab", "brief", "night", {"account lab": 600, "QOS brief": 120, "QOS night": 480}),
    ],
)
def test_limits_of_account_and_qos(
    account: str | None,
    qos: str | None,
    partition_qos: str | None,
    limits: dict[str, int],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """With recorded answers; tests/slurm asks a real cluster."""
    assoc = (
        f"case \"$*\" in *account=lab*) echo '{RECORDED['assoc account=lab']}';; *) echo '{RECORDED['assoc']}';; esac"
    )
    for name, script in {
        "scontrol": f"echo '{RECORDED['scontrol']}'",
        "sacctmgr": f"case \"$*\" in *' qos '*) echo '{RECORDED['qos']}';; *) {assoc};; esac",
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert slurm.wall_limits(account, qos, partition_qos) == limits


def test_limits_that_are_not_enforced_do_not_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "scontrol").write_text("#!/bin/sh\necho 'AccountingStorageEnforce = none'\n")
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert slurm.wall_limits("lab", "brief", None) == {}
