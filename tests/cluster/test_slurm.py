from __future__ import annotations

import sys
from pathlib import Path

import pytest

from isoclock.cluster import slurm
from isoclock.cluster.slurm import Answer, ask, minutes


@pytest.mark.parametrize(
    ("told", "expected"),
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
def test_times_as_slurm_writes_them(told: str, expected: int | None) -> None:
    assert minutes(told) == expected


def test_what_is_no_time_is_an_error() -> None:
    with pytest.raises(ValueError, match="soon"):
        minutes("soon")


def test_without_slurm_nobody_answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not slurm.available()
    assert ask("scontrol", "ping") is None
    assert slurm.partitions() == []
    assert slurm.partition("gpu") is None
    assert slurm.configuration() == {}


def test_a_command_that_does_not_end_is_an_answer_too() -> None:
    answer = ask(sys.executable, "-c", "import time; time.sleep(60)", timeout_s=0.2)
    assert answer is not None
    assert answer.status == 124
    assert answer.complaint == "no answer within 0 s"


def test_a_complaint_is_its_first_line_without_the_commands_name() -> None:
    assert Answer(1, "sbatch: error: invalid partition\nsbatch: error: more\n").complaint == "invalid partition"
    assert Answer(3, "\n").complaint == "exit status 3"
