"""Ctrl-C, which a terminal sends to all processes of a command, ends every verb with status 130 and no traceback."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from trainers import until

from isoclock.modules import modules_of
from tiny_study import TinyStudy

pytestmark = pytest.mark.xdist_group("faults")
MAIN = "import sys\nfrom isoclock.__main__ import main\nprint('started', flush=True)\nsys.exit(main())"
GRID = ("--grid", "toy")
KD = ("streets", "tiny", "kd")
VERBS = {
    "adopt": GRID, "audit": GRID, "bundle": ("toy",), "check": GRID, "export": ("streets/small",),
    "predict": ("streets/small", "data/streets/leftImg8bit/val"), "doctor": ("--no-job",), "evaluate": ("streets/small",),
    "fetch": ("toy",), "gate": ("toy",), "import": ("small", "results/teacher/streets/small/weights.safetensors"), "methods": (),
    "plan": ("--dry", *GRID), "prepare": ("streets",), "profile": KD, "report": GRID, "stamp": GRID, "status": ("toy", "--watch"),
    "streets": ("more",), "student": ("streets/tiny/kd/iteration-6/0",), "sync": (*GRID, "--watch"),
    "teacher": ("streets", "small"), "tune": ("toy",), "ui": (*GRID, "--port", "5917"),
}  # fmt: skip


def interrupted(study: TinyStudy, verb: str, wait: Callable[[], object]) -> tuple[int, str]:
    """Exit status and output of a verb that is interrupted after `wait()`."""
    # A shell starts background jobs with SIGINT ignored, and these tests may be one.
    command = ["env", "--default-signal=INT", sys.executable, "-c", MAIN, verb, *VERBS[verb]]
    process = subprocess.Popen(
        command,
        cwd=study.folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        wait()
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, said


def test_ctrl_c_while_sync_creates_the_store(empty_study: TinyStudy) -> None:
    copy = empty_study.folder / "mlflow.db.upgrade"
    assert interrupted(empty_study, "sync", lambda: until(copy.exists, "the store is being created")) == (130, "")
    assert not copy.exists()
    assert not (empty_study.folder / "mlflow.db").exists()


def test_every_verb_is_in_the_list() -> None:
    assert VERBS.keys() == modules_of("cli", without=("main", "shared")).keys()


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_ctrl_c_at_random_moments(taught_study: TinyStudy, verb: str) -> None:
    draw = random.Random(verb)
    for wait_s in (0.05, draw.uniform(0.0, 3.0), draw.uniform(0.0, 6.0)):
        status, said = interrupted(taught_study, verb, lambda wait_s=wait_s: time.sleep(wait_s))
        assert "Traceback" not in said
        assert "Exception ignored" not in said
        # 0, 2: it had ended before. 75: a trainer saves its state first.
        assert status == 130 or (wait_s > 0.05 and status in (0, 2, 75)), said
        print(wait_s, status)
