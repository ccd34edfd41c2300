from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
import webbrowser
from typing import Any

import pytest

from isoclock.errors import UserError
from isoclock.tracking import serve_ui
from isoclock.tracking.ui import browser, ui_command, ui_environment

CELL = "streets/demo/kd/compute-400/0"


def test_only_loopback_is_served(study: Any) -> None:
    for host in ("0.0.0.0", "192.0.2.1", "example.org"):
        with pytest.raises(UserError, match="ssh -L"):
            serve_ui(study.uri, host=host)


def test_a_port_in_use_is_reported(study: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UserError, match="--port"):
        serve_ui(study.uri, port=taken.getsockname()[1])


def test_a_server_store_is_rejected() -> None:
    with pytest.raises(UserError, match="open that address"):
        serve_ui("http://127.0.0.1:1")


def test_the_store_is_not_on_the_command_line() -> None:
    uri = "postgresql://ann:secret@db/x"
    assert "secret" not in " ".join(ui_command())
    assert ui_environment(uri)["MLFLOW_BACKEND_STORE_URI"] == uri
    assert ui_command()[-2:] == ["--workers", "1"]


def test_without_a_display_no_browser_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert browser() is None
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("webbrowser.get", lambda: webbrowser.GenericBrowser("true"))
    shown = browser()
    assert shown is not None
    assert shown("http://127.0.0.1:1/")


@pytest.mark.slow
def test_the_ui_is_served_and_synced_until_sigterm(study: Any) -> None:
    study.student(CELL, run_id="one")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script = (
        "import sys; from pathlib import Path; from isoclock.tracking import serve_ui\n"
        "from isoclock.grid.cells import Cell\n"
        f"serve_ui({study.uri!r}, port={port}, cells=[Cell.parse({CELL!r})], results=Path({str(study.results)!r}),"
        f" runs=Path({str(study.runs)!r}), show=lambda url: print('open', url, flush=True),"
        " progress=lambda line: print(line, flush=True))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment)
    alarm = threading.Timer(120, process.kill)
    alarm.start()
    try:
        assert process.stdout is not None
        assert str(port) in process.stdout.readline()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            assert b"MLflow" in answer.read()
        page = process.stdout.readline().strip()
        assert page.startswith(f"runs of streets: http://127.0.0.1:{port}/#/experiments/1/runs?")
        assert process.stdout.readline().strip() == f"open {page.split(': ', 1)[1]}"
        assert process.stdout.readline() == f"created {CELL}\n"
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    finally:
        alarm.cancel()
        process.kill()
    with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=5):
        pytest.fail("the server outlived serve_ui")
