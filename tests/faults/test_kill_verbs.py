"""kill -9 of a verb at random moments, ten times: the same command then ends as if it had never been killed."""

from __future__ import annotations

import random
import shutil
import signal
import socket
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from trainers import Trainer, ended, until

from isoclock.files import sha256_file
from tiny_study import write_plan

KILLS = 10
CELL = "streets/tiny/kd/iteration-6/0"
MADE = {
    "prepare streets": "results/data",
    "teacher streets small": "results/teacher/**/weights.safetensors",
    "profile streets tiny kd": "",
    "plan streets tiny iteration-6": "",
    "plan streets tiny iteration-6 kd": "",
    f"evaluate {CELL}": "results/evaluate/**/confusion.npz",
    "report --grid toy": "results/report/toy/cells.csv",
    "streets": "data/streets",
    "stamp": "",
    "audit --grid toy": "",
    "check": "",
    "methods": "",
}
"""What must have the same bytes afterwards; "" where it contains times or measurements, or nothing is made."""
pytestmark = [
    pytest.mark.xdist_group("faults"),
    pytest.mark.timeout(900),
    pytest.mark.slow,
    pytest.mark.target("10 kills in every other verb: no losses"),
]


def contents(folder: Path, made: str) -> dict[str, str]:
    """Digests of files. Fails if there is none, or a temporary one."""
    if not made:
        return {}
    paths = [path for found in folder.glob(made) for path in (found.rglob("*") if found.is_dir() else [found])]
    files = {str(path.relative_to(folder)): sha256_file(path) for path in paths if path.is_file()}
    assert files
    assert [name for name in files if Path(name).name.startswith(".")] == []
    return files


@pytest.mark.parametrize("command", MADE)
def test_a_killed_verb_loses_nothing(
    trainer: Callable[..., Trainer], command: str, record_property: Callable[[str, object], None]
) -> None:
    record_property("cases", KILLS)
    run, verb = trainer(), command.split()
    write_plan(run.study)
    assert run.run() == 0, run.said
    if verb[0] in ("report", "audit"):
        assert run.run(verb=("evaluate", CELL)) == 0, run.said
    if command == "plan streets tiny iteration-6 kd":
        for before in (("profile", "streets", "tiny", "kd"), ("plan", "streets", "tiny", "iteration-6")):
            assert run.run(verb=before) == 0, run.said
    if verb[0] == "teacher":  # its weights are those that an undisturbed training gives
        for folder in ("runs/teacher", "results/teacher"):
            shutil.rmtree(run.study.folder / folder, ignore_errors=True)
    if verb[0] == "stamp":
        verb = ["stamp", "--grid", "toy"]
    started = time.monotonic()
    assert run.run(verb=verb) == 0, run.said
    took_s, expected = time.monotonic() - started, contents(run.study.folder, MADE[command])
    draw = random.Random(command)
    for _ in range(KILLS):
        if verb[0] == "teacher":
            shutil.rmtree(run.study.folder / "results/teacher", ignore_errors=True)
        process = run.start(verb=verb)
        process.join(draw.uniform(0.02, 1.0) * took_s)
        process.kill()
        assert ended(process) in (-signal.SIGKILL, 0), run.said
    assert run.run(verb=verb) == 0, run.said
    assert "Traceback" not in run.said
    assert contents(run.study.folder, MADE[command]) == expected


def test_the_server_of_a_killed_ui_ends(
    trainer: Callable[..., Trainer], record_property: Callable[[str, object], None]
) -> None:
    record_property("cases", KILLS)
    run, draw = trainer(), random.Random("ui")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def answers() -> bool:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
            return True
        return False

    def port_is_free() -> bool:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return True
        return False

    for number in range(KILLS):
        process = run.start(verb=("ui", "--grid", "toy", "--port", str(port)))
        if number == KILLS - 1:
            until(answers, "the server answers")
        else:
            process.join(draw.uniform(0.5, 8.0))
        process.kill()
        assert ended(process) == -signal.SIGKILL, run.said
        until(port_is_free, "the server has ended")
    assert "Traceback" not in run.said
