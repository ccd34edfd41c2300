"""The file of a SQLite store: created and upgraded as a copy, which takes the file's name when it is complete."""

from __future__ import annotations

import logging
import shutil
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

SQLITE = "sqlite:///"

_COMPANIONS = ("-journal", "-wal", "-shm")  # suffixes of the files that SQLite keeps next to a database


def upgrade_file(path: Path) -> None:
    """Create the database, or upgrade its schema (`mlflow db upgrade`). An interruption leaves the old file or the new one.

    MLflow changes the schema step by step, and cannot continue after a process that ended in between. A file without runs
    that cannot be upgraded was left by such a process, and is created again.

    Raises sqlite3.Error, SQLAlchemyError or MlflowException for a file that is not a store, that another program has
    open, or that is newer than this MLflow.
    """
    path = path.resolve()  # so that a symbolic link is kept
    copy = path.with_name(f"{path.name}.upgrade")
    before = schema_version(path)
    with ExitStack() as stack:
        _remove(copy)
        stack.callback(_remove, copy)
        if exists := path.exists():
            guard = stack.enter_context(closing(sqlite3.connect(path, isolation_level=None)))
            guard.execute("BEGIN IMMEDIATE")  # until the exchange, no other program writes what would be lost
            with closing(sqlite3.connect(path)) as old, closing(sqlite3.connect(copy)) as new:
                old.backup(new)
                new.execute("PRAGMA journal_mode = DELETE")  # else a part of it may be in a second file
        try:
            _migrate(copy)
        except SQLAlchemyError:
            if not exists or _has_runs(copy):
                raise
            _remove(copy)
            _migrate(copy)
        if not exists or schema_version(copy) != before:
            if exists:
                shutil.copymode(path, copy)
            for suffix in _COMPANIONS:  # SQLite would apply the journal of a lost file to this one
                Path(f"{path}{suffix}").unlink(missing_ok=True)
            copy.replace(path)


def schema_version(path: Path) -> str:
    """MLflow's name of the schema of a database; empty if there is none."""
    if not path.is_file():
        return ""
    try:
        with closing(sqlite3.connect(path)) as connection:
            rows = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    except sqlite3.DatabaseError:
        rows = []
    return " ".join(row[0] for row in rows)


@contextmanager
def quiet_loggers(*names: str, level: int = logging.WARNING) -> Iterator[None]:
    """Drop what the loggers `names` report below `level`."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(level)
    try:
        yield
    finally:
        for logger, before in zip(loggers, levels, strict=True):
            logger.setLevel(before)


def _migrate(path: Path) -> None:
    from mlflow.db import upgrade  # a command of the command line: the public way to upgrade

    assert upgrade.callback is not None
    with quiet_loggers("mlflow", "alembic"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            upgrade.callback(f"{SQLITE}{path}")  # called directly, because click converts Ctrl-C to its own error
        except SQLAlchemyError:
            raise
        except Exception as error:  # alembic has other errors, for example for a schema that it does not know
            raise MlflowException(str(error)) from error


def _has_runs(path: Path) -> bool:
    """Whether a table of runs has rows, including the temporary one of an interrupted upgrade (`_alembic_tmp_runs`)."""
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE '%runs'"
        tables = [name for (name,) in connection.execute(query)]
        return any(connection.execute(f'SELECT 1 FROM "{table}"').fetchone() for table in tables)


def _remove(path: Path) -> None:
    for suffix in ("", *_COMPANIONS):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
