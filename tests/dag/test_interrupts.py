from __future__ import annotations

import subprocess
import sys

from isoclock.dag.interrupts import CONTINUES, WAIT

PROGRAM = """
import os, signal, time
from isoclock.dag.interrupts import catch_interrupts, interrupted
{before}
catch_interrupts()
print(interrupted())
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep({sleep_s})
except KeyboardInterrupt:
    print("cleaning up")
os.kill(os.getpid(), signal.SIGINT)
print(interrupted())
"""


def run(before: str = "", sleep_s: int = 10) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a program that is interrupted twice."""
    command = ["env", "--default-signal=INT", sys.executable, "-c", PROGRAM.format(before=before, sleep_s=sleep_s)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout, ended.stderr


def test_the_first_interrupt_is_raised_and_the_second_only_answered() -> None:
    assert run() == (0, "False\ncleaning up\nTrue\n", f"{WAIT}\n{CONTINUES}\n")


def test_where_interrupts_are_ignored_they_stay_ignored() -> None:
    assert run("signal.signal(signal.SIGINT, signal.SIG_IGN)", 0) == (0, "False\nFalse\n", "")
