from __future__ import annotations

import time

import pytest

from isoclock import progress
from isoclock.progress import ProgressLine


def test_a_line_comes_by_time_without_any_update(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "SILENT_S", 0.05)
    with ProgressLine("teacher") as line:
        _wait(capsys, "teacher: 0 s\n")
        line.start_at(2)
        line.note(2, 10)
        _wait(capsys, "teacher: 2/10\n")
        line.note(3, 10)
        _wait(capsys, "teacher: 3/10, ", "s left\n")
        line.update(4, 10, "loss 0.500")
        _wait(capsys, "teacher: 4/10, ", "s left, loss 0.500\n")
    capsys.readouterr()
    time.sleep(0.15)
    assert capsys.readouterr().err == "", "the thread has ended"


def test_a_quick_task_prints_its_end_only(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressLine("teacher") as line:
        line.update(1, 2)
        line.note(1, 2)
    assert capsys.readouterr().err == ""
    with ProgressLine("teacher") as line:
        line.update(2, 2)
    assert capsys.readouterr().err == "teacher: 2/2, 0 s left\n"


def _wait(capsys: pytest.CaptureFixture[str], *parts: str) -> None:
    """Wait until what is printed has each of `parts`."""
    deadline, said = time.monotonic() + 10, ""
    while not all(part in said for part in parts):
        assert time.monotonic() < deadline, said
        time.sleep(0.01)
        said += capsys.readouterr().err
