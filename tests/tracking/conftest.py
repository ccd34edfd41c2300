"""Stores for a small study: a SQLite file, MLflow servers and a PostgreSQL server."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from postgresql_server import postgresql_server
from tracked_study import Study

from isoclock.tracking import upgrade_store
from isoclock.tracking.ui import ui_command, ui_environment


@pytest.fixture(scope="session")
def fresh_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store with its tables, to be copied, because creating one takes seconds."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    upgrade_store(f"sqlite:///{path}")
    return path


@pytest.fixture
def study(tmp_path: Path, fresh_store: Path) -> Study:
    for suffix in ("", ".lock"):
        shutil.copy(f"{fresh_store}{suffix}", f"{tmp_path / 'mlflow.db'}{suffix}")
    return Study(tmp_path, f"sqlite:///{tmp_path / 'mlflow.db'}")


@pytest.fixture(autouse=True)
def _no_store_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@dataclass
class Server:
    """A real MLflow server on loopback, over the store in `folder`; it can be killed and restarted at the same address."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @classmethod
    def on(cls, folder: Path, store: Path) -> Server:
        """A server over a copy of `store`, not started."""
        shutil.copy(store, folder / "mlflow.db")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return cls(folder, probe.getsockname()[1])

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ui_command("127.0.0.1", self.port),
                env=ui_environment(f"sqlite:///{self.folder / 'mlflow.db'}"),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 90
        while not _answers(f"{self.address}/health"):
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail((self.folder / "log").read_text()[-2000:])
            time.sleep(0.2)

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, fresh_store: Path) -> Iterator[str]:
    """The address of a server for all tests."""
    running = Server.on(tmp_path_factory.mktemp("server"), fresh_store)
    try:
        running.start()
        yield running.address
    finally:
        running.kill()


@pytest.fixture
def mortal_server(tmp_path_factory: pytest.TempPathFactory, fresh_store: Path) -> Iterator[Server]:
    """A separate, running server for one test."""
    running = Server.on(tmp_path_factory.mktemp("mortal-server"), fresh_store)
    try:
        running.start()
        yield running
    finally:
        running.kill()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The address of a database of a PostgreSQL server for all tests."""
    with postgresql_server() as address:
        yield address


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2):
            return True
    except OSError:
        return False
