"""Commands of the command server behave like those that a shell starts."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from command_server import CommandServer

MAIN = """
import os, signal, sys, time

def main():
    if sys.argv[1] == "environment":
        print(os.getcwd(), os.environ["MINE"], sys.stdin.read())
        print("wrong", file=sys.stderr)
        return 3
    if sys.argv[1] == "exit":
        sys.exit("a reason")
    if sys.argv[1] == "raise":
        raise ValueError("a bug")
    if sys.argv[1] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    try:
        print(os.getpid(), flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        return 130
"""


@pytest.fixture(scope="module")
def server() -> CommandServer:
    return CommandServer()


@pytest.fixture
def start(server: CommandServer, tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start `isoclock`, a package of the test's own, with an argument."""
    (tmp_path / "src" / "isoclock").mkdir(parents=True)
    (tmp_path / "src" / "isoclock" / "__init__.py").touch()
    (tmp_path / "src" / "isoclock" / "__main__.py").write_text(MAIN)

    def start(argument: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": str(tmp_path / "src"), "MINE": "my value"}
        pipe = subprocess.PIPE
        command = [server.bin / "isoclock", argument]
        return subprocess.Popen(command, cwd=tmp_path, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    return start


def test_a_command_has_its_arguments_environment_folder_and_streams(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = start("environment")
    assert process.communicate("typed") == (f"{tmp_path} my value typed\n", "wrong\n")
    assert process.returncode == 3


@pytest.mark.parametrize(
    ("argument", "status", "said"), [("exit", 1, "a reason\n"), ("raise", 1, "ValueError: a bug\n")]
)
def test_a_command_ends_as_in_the_interpreter(
    start: Callable[..., subprocess.Popen[str]], argument: str, status: int, said: str
) -> None:
    process = start(argument)
    assert process.communicate()[1].endswith(said)
    assert process.returncode == status


def test_a_killed_fork_is_a_killed_command(start: Callable[..., subprocess.Popen[str]]) -> None:
    process = start("kill")
    process.communicate()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_signal_reaches_the_fork(
    start: Callable[..., subprocess.Popen[str]], sent: signal.Signals, status: int
) -> None:
    with start("sleep") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(sent)
        assert process.wait(60) == status


def test_the_fork_ends_with_a_killed_command(start: Callable[..., subprocess.Popen[str]]) -> None:
    with start("sleep") as process:
        assert process.stdout is not None
        fork = os.pidfd_open(int(process.stdout.readline()))
        process.kill()
        ready, _, _ = select.select([fork], [], [], 60)
        os.close(fork)
        assert ready, "the fork still runs"
