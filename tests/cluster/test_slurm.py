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
