"""Output and logs that cannot be written: one line, and the verb's own result counts."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from isoclock.cli import check
from isoclock.cli.main import main
from tiny_study import TinyStudy


@pytest.fixture
def in_study(empty_study: TinyStudy, monkeypatch: pytest.MonkeyPatch) -> TinyStudy:
    monkeypatch.chdir(empty_study.folder)
    return empty_study


@pytest.mark.parametrize("arguments", [["check"], ["methods", "--json"], ["--log", "x.log", "methods"]])
def test_output_on_a_full_disk(
    in_study: TinyStudy, arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdout", full)
        assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch("isoclock: (standard output: )?No space left on device; make room", line)


def test_output_whose_reader_is_gone(
    in_study: TinyStudy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert main(["methods", "--json"]) == 2
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("log", ["", ".", "params", "/dev/null", "/proc/x.log", "params/grids/toy.yaml/x.log"])
def test_a_log_that_cannot_be_made(in_study: TinyStudy, log: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--log", log, "check"]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("isoclock: ")
    assert captured.out == "", "nothing was done"


def test_a_log_that_becomes_full_does_not_hide_the_result(
    in_study: TinyStudy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(_: object) -> int:
        print("started")
        with open("/dev/full", "wb") as full:  # noqa: PTH123
            (log,) = [int(fd.name) for fd in Path("/proc/self/fd").iterdir() if _leads_to(fd, "x.log")]
            os.dup2(full.fileno(), log)
        print("trained")
        return 0

    monkeypatch.setattr(check, "run", run)
    assert main(["--log", "x.log", "check"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "started\ntrained\n"
    assert captured.err == "isoclock: x.log: No space left on device; the log ends here\n"
    assert Path("x.log").read_text() == "started\n"


def _leads_to(link: Path, name: str) -> bool:
    try:
        return link.readlink().name == name
    except FileNotFoundError:  # the listing's own
        return False
