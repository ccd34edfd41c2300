"""Names that are not UTF-8, on the command line, in the environment and on disk: escaped in one line, never a traceback."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from isoclock.cli.main import main
from tiny_study import TinyStudy

STRANGE = "a\udcff\x1b[2J\nisoclock: b"
GRID = ("check", "stamp", "report", "audit", "sync", "ui", "adopt", "plan --dry")
COMMANDS = [
    *([*verb.split(), "--grid", STRANGE] for verb in GRID),
    ["prepare", STRANGE],
    ["teacher", "streets", STRANGE],
    ["profile", "streets", STRANGE, "kd"],
    ["plan", "streets", "tiny", STRANGE],
    ["student", f"streets/tiny/{STRANGE}/iteration-6/0"],
    ["evaluate", f"streets/{STRANGE}"],
    ["streets", f"/proc/{STRANGE}"],
]


@pytest.fixture
def in_study(empty_study: TinyStudy, monkeypatch: pytest.MonkeyPatch) -> TinyStudy:
    monkeypatch.chdir(empty_study.folder)
    return empty_study


def the_line(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert line.startswith("isoclock: ")
    assert out == ""
    return line


@pytest.mark.parametrize("log", [None, f"logs/{STRANGE.replace('/', '')}.log"], ids=["", "log"])
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_words_of_the_command(
    in_study: TinyStudy, command: list[str], log: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*(["--log", log] if log else []), *command]) == 2
    assert r"\udcff\x1b[2J\nisoclock: b" in the_line(capsys)
    if log:
        assert "\\udcff" in Path(log).read_text(encoding="utf-8")


def test_a_folder_of_raw_data(
    in_study: TinyStudy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ISOCLOCK_ROOT_STREETS", STRANGE)
    assert main(["prepare", "streets"]) == 2
    assert r"\udcff\x1b[2J\nisoclock: b" in the_line(capsys)


def test_an_address_of_the_store(
    in_study: TinyStudy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for address in (f"file:{STRANGE}", f"sqlite:///params/grids/toy.yaml/{STRANGE}.db"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        assert main(["sync", "--grid", "toy"]) == 2
        assert r"\udcff" in the_line(capsys)


@pytest.mark.parametrize("place", ["params", "params/grids", "plugins/readers", "plugins/methods"])
def test_a_file_of_the_study(in_study: TinyStudy, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(place).mkdir(parents=True, exist_ok=True)
    name = STRANGE + (".yaml" if place.startswith("params") else ".py")
    (Path(place) / name).write_bytes(b"\xff: \x1b")
    status = main(["check", "--grid", "toy"])
    out, err = capsys.readouterr()
    assert status in (0, 2)
    assert all(line.startswith("isoclock: ") for line in err.splitlines())
    assert "\x1b" not in out + err


def test_strange_files_among_the_results(in_study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("results/teacher/streets/small", "runs/student/streets/tiny", "results/stamps"):
        Path(folder).mkdir(parents=True)
        os.mkfifo(Path(folder) / f"{STRANGE} fifo")
        (Path(folder) / STRANGE).mkdir()
        (Path(folder) / STRANGE / "record.json").write_bytes(b"\xff")
    for command in (["report", "--grid", "toy"], ["audit", "--grid", "toy"], ["stamp", "--grid", "toy"]):
        assert main(command) == 0
    assert "\x1b" not in "".join(capsys.readouterr())
