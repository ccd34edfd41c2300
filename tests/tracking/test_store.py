from __future__ import annotations

import socket
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from isoclock.errors import UserError
from isoclock.tracking import resolve_uri, sync, upgrade_store
from isoclock.tracking.store import redacted, writing


def test_the_default_store_is_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve_uri() == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///elsewhere.db")
    assert resolve_uri() == f"sqlite:///{tmp_path}/elsewhere.db"
    assert resolve_uri("http://somewhere:1") == "http://somewhere:1"


@pytest.mark.parametrize("uri", ["./mlruns", "file:///tmp/mlruns", "sqlite://", "sqlite:///:memory:", "ftp://host"])
def test_an_unsupported_address_is_rejected(uri: str) -> None:
    with pytest.raises(UserError, match="MLFLOW_TRACKING_URI"):
        resolve_uri(uri)


def test_credentials_are_never_shown(tmp_path: Path) -> None:
    assert redacted("postgresql://ann:secret@db/x?sslkey=y") == "postgresql://db/x"
    assert redacted("postgresql://ann:s@cr/et?@db/x?password=y@z") in ("postgresql://db/x", "postgresql://z")
    assert redacted("sqlite:////home/ann@work/mlflow.db") == "sqlite:////home/ann@work/mlflow.db"
    with pytest.raises(UserError) as caught:
        sync(tmp_path, tmp_path, f"http://ann:secret@127.0.0.1:{_closed_port()}")
    assert "secret" not in str(caught.value)


def test_a_dead_server_is_reported_in_one_line(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(UserError, match="no server answers at this address") as caught:
        sync(tmp_path, tmp_path, f"http://127.0.0.1:{_closed_port()}")
    assert len(caught.value.problems) == 1
    assert "\n" not in str(caught.value)
    assert time.monotonic() - started < 60  # by default MLflow tries for four minutes


def test_a_server_that_does_not_answer_times_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isoclock.tracking.store._PROBE", {"MLFLOW_HTTP_REQUEST_TIMEOUT": "1"} | _NO_RETRY)
    with socket.create_server(("127.0.0.1", 0)) as mute, pytest.raises(UserError, match="does not answer in time"):
        sync(tmp_path, tmp_path, f"http://127.0.0.1:{mute.getsockname()[1]}")


def test_a_file_that_is_not_a_store_is_reported(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("surely not SQLite, and long enough to be looked at" * 100)
    with pytest.raises(UserError, match="move the file away"):
        upgrade_store(f"sqlite:///{tmp_path}/mlflow.db")


def test_upgrading_again_changes_nothing(tmp_path: Path, fresh_store: Path) -> None:
    before = fresh_store.read_bytes()
    upgrade_store(f"sqlite:///{fresh_store}")
    assert fresh_store.read_bytes() == before
    with sqlite3.connect(fresh_store) as connection:
        assert connection.execute("SELECT count(*) FROM experiments").fetchone() is not None


def test_a_second_writer_waits_for_the_first(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    order: list[str] = []
    waiting = threading.Event()

    def second() -> None:
        waiting.set()
        with writing(uri):
            order.append("second")

    with writing(uri):
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(10)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_a_lock_that_stays_held_is_reported(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with (
        writing(uri),
        pytest.raises(UserError, match="another process is writing to this store"),
        writing(uri, wait_s=0.0),
    ):
        pass


_NO_RETRY = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
