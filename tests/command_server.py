"""The commands `isoclock` and `snakemake`, started in a fraction of a second.

Most of a start is the import of torch, Snakemake and other packages. A server imports them once, and forks for each
command. The fork has the arguments, environment, folder and streams of the command, and imports isoclock itself from
PYTHONPATH. The command that the shell started passes signals on, to all processes that the fork started, and ends with
the same status. If it is killed, so is the fork.
"""

from __future__ import annotations

import atexit
import gc
import io
import json
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import NoReturn

PACKAGES = (
    "albumentations",
    "cv2",
    "matplotlib.pyplot",
    "numba",
    "pydantic",
    "safetensors.torch",
    "scipy.stats",
    "segmentation_models_pytorch",
    "snakemake.cli",
    "timm",
    "torch",
    "torchvision",
    "yaml",
)
ENTRIES = {"isoclock": "isoclock.__main__", "snakemake": "snakemake.cli"}

CLIENT = """#!{python} -SE
import json, os, signal, socket, sys

connection = socket.socket(socket.AF_UNIX)
connection.connect({address!r})
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda number, _frame: connection.sendall(bytes([number])))
request = json.dumps([sys.argv, os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(connection, [len(request).to_bytes(4, "big")], [0, 1, 2])
connection.sendall(request)
answer = connection.recv(4)
status = int.from_bytes(answer, "big", signed=True) if len(answer) == 4 else 1
if status < 0:
    if status != -signal.SIGKILL:
        signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
os._exit(status)
"""


class CommandServer:
    """A server and a folder `bin` with its commands, for PATH. Commands use one thread and no GPU.

    The folder, whose path must be short enough for a socket, is removed when this process ends.
    """

    def __init__(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="isoclock-"))
        self.bin = folder / "bin"
        self.bin.mkdir()
        address = str(folder / "socket")
        for name in ENTRIES:
            command = self.bin / name
            command.write_text(CLIENT.format(python=sys.executable, address=address))
            command.chmod(0o755)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        self._process = subprocess.Popen(
            [sys.executable, __file__, address], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        atexit.register(self._close, folder)
        assert self._process.stdout is not None
        assert self._process.stdout.read(1) == b".", "the command server did not start"

    def _close(self, folder: Path) -> None:
        self._process.kill()  # commands that run continue
        self._process.wait()
        shutil.rmtree(folder)


def serve(address: str) -> Callable[[], object]:
    """Answer requests for ever. Returns in each fork: the command to run."""
    for name in PACKAGES:
        import_module(name)
    gc.freeze()  # a collection in a fork would copy every page
    server = socket.socket(socket.AF_UNIX)
    server.bind(address)
    server.listen()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a shell's background processes inherit that it is ignored
    os.write(1, b".")
    while True:
        # Standard input ends with the test process, however that ends.
        ready, _, _ = select.select([server, 0], [], [])
        if 0 in ready:
            os._exit(0)
        connection, _ = server.accept()
        if os.fork() == 0:
            server.close()
            return _command(connection)
        connection.close()


def _command(connection: socket.socket) -> Callable[[], object]:
    """In a fork: start the command in a further one, and watch both it and the connection."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    length, streams, _, _ = socket.recv_fds(connection, 4, 3)
    content = b""
    while len(content) < int.from_bytes(length, "big"):
        content += connection.recv(1 << 16)
    arguments, folder, environment = json.loads(content)
    if (pid := os.fork()) == 0:
        os.setpgid(0, 0)
        connection.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        return _arranged(arguments, folder, environment)
    with suppress(OSError):  # here too: a signal may come before the fork has done it
        os.setpgid(pid, pid)
    for stream in streams:
        os.close(stream)
    process = os.pidfd_open(pid)
    while process not in (ready := select.select([process, connection], [], [])[0]):
        assert connection in ready
        number = connection.recv(1)
        if not number:
            os.kill(pid, signal.SIGKILL)
            break
        os.killpg(pid, number[0])
    _, ended = os.waitpid(pid, 0)
    status = os.waitstatus_to_exitcode(ended)
    try:
        connection.sendall(status.to_bytes(4, "big", signed=True))
    finally:
        os._exit(0)


def _arranged(arguments: list[str], folder: str, environment: dict[str, str]) -> Callable[[], object]:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = arguments
    sys.path[:1] = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    random.seed()
    # The server's own are of other files. Unbuffered, as with PYTHONUNBUFFERED.
    sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False))
    sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), write_through=True)
    sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), write_through=True)
    entry: Callable[[], object] = import_module(ENTRIES[Path(arguments[0]).name]).main
    return entry


def _end(command: Callable[[], object]) -> NoReturn:
    """Run a command and end as the interpreter would, but leave freeing the packages' memory to the kernel."""
    try:
        status = command()
    except SystemExit as ended:
        status = ended.code
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    if isinstance(status, str):
        print(status, file=sys.stderr)
    os._exit(status if isinstance(status, int) else int(status is not None))


if __name__ == "__main__":
    _end(serve(sys.argv[1]))
