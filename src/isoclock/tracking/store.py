"""The MLflow store: its address, its write lock, schema upgrades, and errors in one line."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from isoclock.errors import UserError
from isoclock.locks import Lock, why_no_kernel_locks
from isoclock.text import safe
from isoclock.tracking.database import check_answer, redacted, with_driver
from isoclock.tracking.sqlite_file import SQLITE, quiet_loggers, schema_version, upgrade_file

URI_VARIABLE = "MLFLOW_TRACKING_URI"
DEFAULT_DATABASE = "mlflow.db"
ARTIFACT_FOLDER = "mlartifacts"

_SERVERS = ("http", "https")
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_PROBE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "5", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
_TIMEOUTS = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "30", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}
_LOCK_WAIT_S = 600.0
_opened: dict[str, tuple[int, int]] = {}  # SQLite stores opened by this process: device and inode of the file


def resolve_uri(uri: str | None = None) -> str:
    """The store to use: `uri`, else $MLFLOW_TRACKING_URI, else sqlite:///mlflow.db; SQLite paths are made absolute.

    Raises UserError for an address that MLflow 3 no longer supports (file store) or that is not persistent (SQLite in
    memory), and for a database driver that is not installed.
    """
    uri = uri or os.environ.get(URI_VARIABLE) or f"{SQLITE}{DEFAULT_DATABASE}"
    scheme = urlsplit(uri).scheme.partition("+")[0]
    if scheme not in (*_SERVERS, *_DATABASES):
        raise UserError(
            f"tracking store {redacted(uri)}: not a store that MLflow supports; "
            f"set {URI_VARIABLE} to sqlite:///PATH.db or to http://HOST:PORT"
        )
    if scheme != "sqlite":
        return uri if scheme in _SERVERS else with_driver(uri)
    path = uri.removeprefix(SQLITE)
    if path == uri or path in ("", ":memory:") or "?" in path:
        raise UserError(f"tracking store {uri}: must name a file; set {URI_VARIABLE} to sqlite:///PATH.db")
    return f"{SQLITE}{Path(path).absolute()}"


def is_server(uri: str) -> bool:
    """Whether `uri` is an MLflow server, not a database that this process opens itself."""
    return urlsplit(uri).scheme in _SERVERS


def database_path(uri: str) -> Path | None:
    """The file of a SQLite store; None for every other kind."""
    return Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else None


def artifact_root(uri: str) -> Path | None:
    """The folder for artifacts: next to a SQLite file, else in the working directory; None for a server."""
    if is_server(uri):
        return None
    path = database_path(uri)
    return (path.parent if path else Path.cwd()) / ARTIFACT_FOLDER


@contextmanager
def writing(uri: str, wait_s: float = _LOCK_WAIT_S) -> Iterator[Path]:
    """Hold the write lock of the store; yields the file for `upgrade_locked`. A second sync waits here for the first.

    The lock of a SQLite store is next to its file; other stores have a lock per user and machine, as they have no common
    file. Raises UserError if the lock is not free within `wait_s` seconds, or cannot be made.
    """
    path = database_path(uri)
    if path is not None:
        lock = path.with_name(path.name + ".lock")
    else:
        name = hashlib.sha256(uri.encode()).hexdigest()[:16]
        lock = Path(tempfile.gettempdir()) / f"isoclock-sync-{os.getuid()}-{name}.lock"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
    except OSError as error:
        raise UserError(
            f"{lock}: cannot be written ({error.strerror}); choose another store with {URI_VARIABLE}"
        ) from None
    with Lock(lock.with_suffix(".writing"), redacted(uri), "writing to this store", wait_s):
        yield lock


def upgrade_store(uri: str | None = None) -> None:
    """Create the tables of a new store, and upgrade the schema of a SQLite store; does nothing for a server.

    Several processes that open a new store at the same time all create its tables and can make it unusable, so call this
    first; it holds the write lock. Raises UserError if the file is not a store, or newer than this MLflow.
    """
    uri = resolve_uri(uri)
    if not is_server(uri):
        with writing(uri) as lock, catch_store_errors(uri):
            upgrade_locked(uri, lock)
            if database_path(uri) is None:
                open_store(uri)


def upgrade_locked(uri: str, lock: Path) -> None:
    """Like `upgrade_store`, for a caller that already holds the `lock`.

    The lock file records which schema was checked by which MLflow version, because the check takes a second.
    """
    path = database_path(uri)
    if path is None or (path.is_file() and lock.read_text() == _upgrade_mark(path)):
        return
    upgrade_file(path)
    lock.write_text(_upgrade_mark(path))


def open_store(uri: str) -> MlflowClient:
    """A client of the store. Raises within seconds if the store does not answer (by default MLflow tries for minutes)."""
    path = database_path(uri)
    if path is not None:
        status = path.stat()
        if _opened.setdefault(uri, (status.st_dev, status.st_ino)) != (status.st_dev, status.st_ino):
            # MLflow keeps its connections as long as the process runs: it would write to the removed file.
            raise UserError(f"{path}: replaced while this process had it open; stop and restart this process")
    elif not is_server(uri):
        check_answer(uri)
    client = MlflowClient(tracking_uri=uri)
    if is_server(uri):
        with _environment(_PROBE):
            client.search_experiments(max_results=1)
        for name, value in _TIMEOUTS.items():
            os.environ.setdefault(name, value)
    return client


def check_file_locks(uri: str) -> None:
    """Raise UserError for a SQLite file on a file system without locks, which SQLite needs."""
    path = database_path(uri)
    if path is not None and (answer := why_no_kernel_locks(path.parent)) is not None:
        raise UserError(
            f"tracking store {uri}: its file system has no file locks ({answer}), which SQLite needs; "
            f"set {URI_VARIABLE} to a SQLite file on another file system, or to a server"
        )


@contextmanager
def catch_store_errors(uri: str) -> Iterator[None]:
    """Convert errors of MLflow, SQLAlchemy and the network to a UserError that names the store."""
    try:
        with quiet_loggers("mlflow.store.db.utils", level=logging.CRITICAL):  # it prints a traceback of each error
            yield
    except (MlflowException, SQLAlchemyError, sqlite3.Error, ConnectionError) as error:
        check_file_locks(uri)
        reason = redacted_reason(_message(error), uri)
        if is_server(uri):
            advice = f"start it, or set {URI_VARIABLE}, then run `isoclock sync` again to continue"
        elif "database is locked" in reason:
            advice = "another program has it open: stop that program, then run `isoclock sync` again to continue"
        elif database_path(uri) is None:
            advice = f"check the database and {URI_VARIABLE}, then run `isoclock sync` again to continue"
        elif re.search("readonly|read-only|unable to open|disk is full|disk I/O", reason):
            advice = "check free space and permissions, then run `isoclock sync` again to continue"
        else:
            advice = "move the file away and run `isoclock sync` to rebuild it from the run records"
        raise UserError(f"tracking store {redacted(uri)}: {reason}; {advice}") from error


def redacted_reason(message: str, uri: str) -> str:
    """The first line of an error message, shortened, without the credentials of the store."""
    if re.search(
        r"[Cc]onnection refused|NewConnectionError|Failed to establish|Name or service|resolve|Can't create a connection",
        message,
    ):
        return "no server answers at this address"
    if re.search(r"[Tt]imed out|[Tt]imeout", message):
        return "the server does not answer in time"
    lines = safe(message.replace(uri, redacted(uri))).strip().splitlines() or ["unknown error"]
    return lines[0][:200].rstrip(".;: ")


def _upgrade_mark(path: Path) -> str:
    """The schema of the file and the MLflow version; any other pair needs an upgrade check."""
    return f"mlflow {mlflow.__version__} schema {schema_version(path)}\n"


def _message(error: Exception) -> str:
    """The text of an error; of an error of pg8000, which is a dictionary, the message of the database in it."""
    details = getattr(getattr(error, "orig", None), "args", ())
    return str(details[0].get("M")) if details and isinstance(details[0], dict) else str(error)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
