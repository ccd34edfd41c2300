"""Every verb on a read-only tree, on a full disk and without permission: it works, or one line says why it does not."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import documents
from isoclock.cli.main import main
from isoclock.files import sha256_file
from isoclock.modules import modules_of
from isoclock.records.document import write
from tiny_study import TinyStudy, write_plan
from tuned_study import add_tuned_grid, write_sweep

pytestmark = [
    pytest.mark.xdist_group("faults"),
    pytest.mark.skipif(os.geteuid() != 0, reason="mounts, and dropping permissions, need root"),
]
CELL = "streets/tiny/kd/iteration-6/0"
READING = {
    "check": ["check", "--grid", "toy"],
    "methods": ["methods"],
    "audit": ["audit", "--grid", "toy"],
    "fetch": ["fetch", "toy"],
    "gate": ["gate", "toy"],
    "import": ["import", "small", "results/teacher/streets/small/weights.safetensors"],
    "status": ["status", "toy"],
    "plan --dry": ["plan", "--dry", "--grid", "toy"],
    "report --table-only": ["report", "--grid", "toy", "--table-only"],
}
WRITING = {
    "prepare": ["prepare", "streets"],
    "teacher": ["teacher", "streets", "small"],
    "profile": ["profile", "streets", "tiny", "kd"],
    "plan": ["plan", "streets", "tiny", "compute-6", "kd"],
    "plan (budget)": ["plan", "streets", "tiny", "compute-6"],
    "student": ["student", CELL],
    "evaluate": ["evaluate", "streets/small"],
    "bundle": ["bundle", "toy"],
    "export": ["export", "streets/small"],
    "predict": ["predict", "streets/small", "data/streets/leftImg8bit/val"],
    "report": ["report", "--grid", "toy"],
    "tune": ["tune", "weighed"],
    "stamp": ["stamp", "--grid", "toy"],
    "streets": ["streets", "data/more"],
    "sync": ["sync", "--grid", "toy"],
    "ui": ["ui", "--grid", "toy", "--port", "5963"],
    "adopt": ["adopt", "--grid", "toy"],
    "doctor": ["doctor", "--no-job"],
}
QUICK = ("stamp", "evaluate", "check")
REASONS = {
    "read-only": "Read-only file system",
    "full": "No space left on device|database or disk is full|free some disk space",
    "forbidden": "Permission denied",
}


def every(verbs: dict[str, list[str]]) -> list[object]:
    return [pytest.param(verbs[name], id=name, marks=[] if name in QUICK else pytest.mark.slow) for name in verbs]


@pytest.fixture(scope="module")
def complete_study(_taught: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study in which every verb has what it needs."""
    folder = tmp_path_factory.mktemp("places") / "study"
    shutil.copytree(_taught, folder)
    study = TinyStudy(folder)
    write_plan(study)
    write(study.layout.profile("streets", "tiny", "kd"), documents.profile())
    write(study.layout.accepted_budget("streets", "tiny", "compute-6"), documents.accepted_budget())
    add_tuned_grid(folder / "params")
    write_sweep(study)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["evaluate", "streets/small"]) == 0
    return folder


@pytest.fixture(scope="module")
def places(complete_study: Path) -> Iterator[dict[str, Path]]:
    """The study on a read-only file system, on a full one, and as the folder of another user."""
    folders = {name: complete_study.parent / name for name in REASONS}
    for folder in folders.values():
        folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folders["full"]))
    try:
        for folder in folders.values():
            shutil.copytree(complete_study, folder, dirs_exist_ok=True)
        with (folders["full"] / "filler").open("wb", buffering=0) as filler:
            while filler.write(bytes(1 << 20)) == 1 << 20:
                pass
        mount("--bind", str(folders["read-only"]), str(folders["read-only"]))
        mount("-o", "remount,ro,bind", str(folders["read-only"]))
        subprocess.run(["chown", "-R", "65534", str(folders["forbidden"])], check=True)
        yield folders
    finally:
        for name in ("full", "read-only"):
            subprocess.run(["umount", "--lazy", str(folders[name])], check=False)


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


TARGETS = {"read-only": "read-only tree, in every verb: one line", "full": "full disk, in every verb: one line"}


@pytest.fixture(
    params=[
        pytest.param(name, marks=[pytest.mark.target(TARGETS[name])] if name in TARGETS else []) for name in REASONS
    ]
)
def place(request: pytest.FixtureRequest, places: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Enters one of the places; `forbidden` without root's right to write the files of others."""
    monkeypatch.chdir(places[request.param])
    if request.param == "forbidden":
        override_permissions(False)
    yield request.param
    override_permissions(True)


def override_permissions(allowed: bool) -> None:
    """Set or drop CAP_DAC_OVERRIDE of this thread."""
    libc, version_and_thread, sets = ctypes.CDLL(None), (ctypes.c_uint32 * 2)(0x20080522), (ctypes.c_uint32 * 6)()
    assert libc.capget(version_and_thread, sets) == 0
    sets[0] = sets[0] | 2 if allowed else sets[0] & ~2
    assert libc.capset(version_and_thread, sets) == 0


@pytest.mark.parametrize("arguments", every(READING))
def test_verbs_that_only_read_work_everywhere(
    place: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("log", [[], ["--log", "runs/logs/x.log"]], ids=["", "log"])
@pytest.mark.parametrize("arguments", every(WRITING))
def test_verbs_that_write_say_in_one_line_why_they_cannot(
    place: str, arguments: list[str], log: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents()
    assert main([*log, *arguments]) == 2
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if "the log ends here" not in line]
    assert "Traceback" not in out + err
    if arguments[0] == "doctor" and out:  # its findings are a table
        assert re.search(REASONS[place], out), out
    else:
        assert len(lines) == 1, err
        assert re.match(f"isoclock: .*(?:{REASONS[place]})", lines[0]), lines
    after = contents()
    assert {path: after.get(path) for path in before} == before, "what was there is as it was"
    assert not [
        path for path in after.keys() - before.keys() if path.name.startswith(".") and path.suffix != ".packing"
    ]


def contents() -> dict[Path, str]:
    ours = [path for name in ("params", "results", "data") for path in Path(name).rglob("*")]
    return {path: sha256_file(path) for path in ours if path.is_file()}


def test_the_lists_have_every_verb() -> None:
    listed = {name.partition(" ")[0] for name in READING | WRITING}
    assert listed == set(modules_of("cli", without=("main", "shared")))


@pytest.mark.slow
def test_too_many_open_files(
    taught_study: TinyStudy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(taught_study.folder)
    assert main(["prepare", "streets"]) == 0, "and everything is imported"
    capsys.readouterr()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    for more in (3, 5):  # too few for the files of the packing, or for an image
        resource.setrlimit(resource.RLIMIT_NOFILE, (free + more, before[1]))
        try:
            status = main(["prepare", "streets", "--workers", "1"])
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        # Where packing takes more than a moment, it shows its progress, too.
        lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("prepare streets: ")]
        assert status == 2
        assert lines
        assert all(line.startswith("isoclock: ") and "Too many open files" in line for line in lines), lines
    assert main(["prepare", "streets"]) == 0


@pytest.mark.slow
@pytest.mark.target("moved study, in every verb: one line")
def test_a_study_that_is_moved(
    complete_study: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    record_property: Callable[[str, object], None],
) -> None:
    """It works there. `streets` has a folder of its own; `ui` and `adopt` need a port and the whole project: see their tests."""
    shutil.copytree(complete_study, tmp_path / "here")
    verbs = {
        name: words
        for name, words in (READING | WRITING).items()
        if name not in ("plan", "plan (budget)", "streets", "ui", "adopt")
    }
    verbs["plan (budget)"] = ["plan", "streets", "tiny", "iteration-6"]
    verbs["plan"] = [*verbs["plan (budget)"], "kd"]
    record_property("cases", len(verbs))
    for folder in (tmp_path / "here", tmp_path / "there and\udcff"):
        if not folder.exists():
            (tmp_path / "here").rename(folder)
        monkeypatch.chdir(folder)
        for verb, words in verbs.items():
            assert main(words) == 0, (verb, capsys.readouterr())


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [WRITING[verb] for verb in ("prepare", "student", "report", "sync")],
    ids=lambda arguments: arguments[0],
)
def test_caches_that_cannot_be_written(complete_study: Path, tmp_path: Path, arguments: list[str]) -> None:
    study = shutil.copytree(complete_study, tmp_path / "study")
    source = Path(sys.modules["isoclock"].__file__ or "").parents[1]
    readonly = f"mount --bind {source} {source} && mount -o remount,ro,bind {source}"
    ended = subprocess.run(
        ["unshare", "-m", "sh", "-c", f'{readonly} && exec "$0" -m isoclock "$@"', sys.executable, *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(source), "HOME": "/proc/no", "OMP_NUM_THREADS": "1"},
        cwd=study, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
