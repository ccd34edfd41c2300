"""The MLflow UI on the loopback interface, with a store that is kept up to date."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

from isoclock.errors import UserError
from isoclock.grid.cells import Cell
from isoclock.grid.layout import RESULTS, RUNS
from isoclock.tracking.database import redacted
from isoclock.tracking.pages import runs_page
from isoclock.tracking.store import artifact_root, is_server, open_store, resolve_uri
from isoclock.tracking.syncing import Progress, open_experiments, watch

_START_WAIT_S = 120.0
# The parent of the server. Its standard input ends with the verb, even if the verb is killed: then it ends the server and the
# workers of the server, which would otherwise keep the port.
_KEEPER = """
import os, signal, subprocess, sys, threading

server = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)

def end_with_the_verb():
    sys.stdin.read()
    os.killpg(server.pid, signal.SIGTERM)
    try:
        server.wait(timeout=10)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)

threading.Thread(target=end_with_the_verb, daemon=True).start()
status = server.wait()
try:
    os.killpg(server.pid, signal.SIGKILL)
except ProcessLookupError:
    pass
os._exit(status if status >= 0 else 0)
"""


def ui_command(host: str = "127.0.0.1", port: int = 5000) -> list[str]:
    """The server command, with one worker. The store is passed by `ui_environment`, because ps shows command lines."""
    return [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"]


def ui_environment(uri: str) -> dict[str, str]:
    """Environment of the server: that of this process, with the store, and without telemetry and job execution."""
    environment = dict(os.environ)
    environment["MLFLOW_BACKEND_STORE_URI"] = uri
    environment["MLFLOW_ARTIFACTS_DESTINATION"] = str(artifact_root(uri))
    environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    environment["MLFLOW_DISABLE_TELEMETRY"] = "true"
    environment.pop("MLFLOW_TRACKING_URI", None)
    return environment


def run_pages(uri: str, host: str, port: int) -> dict[str, str]:
    """URL of the list of runs of each experiment, by its name: sorted by mIoU, in MLflow's mode for training.

    The links in the list of experiments lead to MLflow's pages for language models (3.17), which do not show these runs.
    """
    found = open_store(uri).search_experiments()
    return {
        one.name: runs_page(f"http://{host}:{port}", one.experiment_id)
        for one in sorted(found, key=lambda one: str(one.name))
        if one.name != "Default"
    }


def browser() -> Callable[[str], object] | None:
    """What opens a URL in a browser with windows; None where there is none, such as over SSH."""
    if sys.platform != "darwin" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return None  # or `webbrowser` may start one in the terminal
    try:
        return webbrowser.get().open
    except webbrowser.Error:
        return None


def serve_ui(
    uri: str | None = None,
    results: Path = RESULTS,
    runs: Path = RUNS,
    *,
    host: str = "127.0.0.1",
    port: int = 5000,
    grid_name: str | None = None,
    cells: Sequence[Cell] = (),
    teachers_of: Sequence[str] = (),
    progress: Progress | None = None,
    stop: threading.Event | None = None,
    show: Callable[[str], object] | None = None,
) -> int:
    """Serve the MLflow UI and keep the store up to date (`watch`) until SIGTERM or Ctrl-C (KeyboardInterrupt).

    `show` is called with the URL of the runs of the first cell's data set, such as `browser()`. Returns the server's exit
    status.

    Raises UserError if the store is itself a server, `host` is not loopback (MLflow has no passwords: use a tunnel),
    the port is in use, or the server does not start.
    """
    uri = resolve_uri(uri)
    if is_server(uri):
        raise UserError(f"tracking store {redacted(uri)}: this is a server; open that address in a browser")
    _check_address(host, port)
    open_experiments(uri, sorted({cell.dataset for cell in cells}))
    report = progress or print
    ended = stop or threading.Event()
    with _server(uri, host, port) as process, _stopping_at_sigterm(ended):
        _wait_for(process, f"http://{host}:{port}", " ".join(ui_command(host, port)[1:]))
        pages = run_pages(uri, host, port)
        report(f"MLflow: http://{host}:{port}/#/experiments?workflowType=machine_learning (stop with Ctrl-C)")
        for name, page in pages.items():
            report(f"runs of {name}: {page}")
        if show is not None and cells:
            show(pages[cells[0].dataset])
        threading.Thread(target=_set_when_ended, args=(process, ended), daemon=True).start()
        watch(
            results,
            runs,
            uri,
            grid_name=grid_name,
            cells=cells,
            teachers_of=teachers_of,
            progress=progress,
            stop=ended,
        )
        return process.poll() or 0


def _check_address(host: str, port: int) -> None:
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise UserError(
            f"host {host}: not a loopback address; from another machine use `ssh -L {port}:127.0.0.1:{port} ...`"
        )
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            raise UserError(f"port {port}: already in use on {host}; choose another with --port") from None


@contextlib.contextmanager
def _server(uri: str, host: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run the server, which starts workers. All of them end with the block, and with this process."""
    process = subprocess.Popen(
        [sys.executable, "-c", _KEEPER, *ui_command(host, port)],
        env=ui_environment(uri),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()


@contextlib.contextmanager
def _stopping_at_sigterm(ended: threading.Event) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return

    def stop(_sign: int, _frame: FrameType | None) -> None:
        ended.set()

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _wait_for(process: subprocess.Popen[bytes], address: str, command: str) -> None:
    deadline = time.monotonic() + _START_WAIT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise UserError(f"the MLflow server failed to start (status {process.returncode}); try `python {command}`")
        with (
            contextlib.suppress(urllib.error.URLError, OSError),
            urllib.request.urlopen(f"{address}/health", timeout=2),
        ):
            return
        time.sleep(0.2)
    raise UserError(f"the MLflow server did not answer at {address} within {_START_WAIT_S:.0f} s; try again")


def _set_when_ended(process: subprocess.Popen[bytes], ended: threading.Event) -> None:
    process.wait()
    ended.set()
