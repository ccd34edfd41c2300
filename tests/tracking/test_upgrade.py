"""The file of a SQLite store is created and upgraded as a whole or not at all."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from mlflow.db import upgrade
from mlflow.store.db.utils import _get_alembic_config
from mlflow.store.tracking.dbmodels.initial_models import Base
from sqlalchemy import Engine, create_engine, event
from tracked_study import Study

from isoclock.errors import UserError
from isoclock.tracking import upgrade_store
from isoclock.tracking.sqlite_file import schema_version

OLD = "451aebb31d03"  # MLflow's first change of its schema


def run_in(path: Path, schema: str | None = None) -> bytes:
    """Add a run to the file, and make it say that it has another schema; returns its bytes."""
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO experiments (experiment_id, name) VALUES (7, 'streets')")
        connection.execute("INSERT INTO runs (run_uuid, name, experiment_id) VALUES ('r', 'one', 7)")
    if schema:
        pretend(path, schema)
    return path.read_bytes()


def pretend(path: Path, schema: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", [schema])


def usable(path: Path, like: Path) -> bool:
    """Whether it has the tables of a complete store, and nothing else is left in its folder."""

    def tables(of: Path) -> set[tuple[str]]:
        with sqlite3.connect(of) as connection:
            return set(connection.execute("SELECT name FROM sqlite_master").fetchall())

    return tables(path) == tables(like) and not [*path.parent.glob("*.upgrade*"), *path.parent.glob("*-journal")]


def _killed_at(statement: int, path: Path) -> None:
    done = []

    def count(*_: object) -> None:
        done.append(1)
        if len(done) == statement:
            os._exit(9)

    event.listen(Engine, "after_cursor_execute", count)
    upgrade.callback(f"sqlite:///{path}")


def test_a_store_that_mlflow_did_not_finish_is_created_again(tmp_path: Path, fresh_store: Path) -> None:
    path = tmp_path / "mlflow.db"
    process = multiprocessing.get_context("fork").Process(target=_killed_at, args=(250, path))
    process.start()
    process.join()
    assert process.exitcode == 9
    assert path.exists()
    upgrade_store(f"sqlite:///{path}")
    assert usable(path, fresh_store)


def test_a_file_with_runs_is_never_replaced_by_an_empty_one(tmp_path: Path, study: Study) -> None:
    path = tmp_path / "mlflow.db"
    before = run_in(path, OLD)
    with pytest.raises(UserError, match="move the file away"):
        upgrade_store(f"sqlite:///{path}")
    assert path.read_bytes() == before
    pretend(path, "f" * 12)
    with pytest.raises(UserError, match="Can't locate revision") as caught:
        upgrade_store(f"sqlite:///{path}")
    assert len(caught.value.problems) == 1


def test_an_older_schema_is_upgraded_with_its_runs(tmp_path: Path, fresh_store: Path) -> None:
    path = tmp_path / "elsewhere" / "mlflow.db"
    path.parent.mkdir()
    engine = create_engine(f"sqlite:///{path}")
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        config = _get_alembic_config(str(engine.url))
        config.attributes["connection"] = connection
        scripts = ScriptDirectory.from_config(config)
        command.upgrade(config, scripts.get_revision(scripts.get_current_head()).down_revision)
    engine.dispose()
    run_in(path)
    path.chmod(0o600)
    link = tmp_path / "mlflow.db"
    link.symlink_to(path)
    upgrade_store(f"sqlite:///{link}")
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o600
    assert schema_version(path) == schema_version(fresh_store)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT name FROM runs").fetchall() == [("one",)]


def test_the_journal_of_a_lost_file_is_not_applied_to_the_next(tmp_path: Path, fresh_store: Path) -> None:
    path = tmp_path / "mlflow.db"
    program = "CREATE TABLE a (b); PRAGMA cache_size = 1; BEGIN; INSERT INTO a SELECT randomblob(99999);"
    process = multiprocessing.get_context("fork").Process(target=_end_within, args=(path, program))
    process.start()
    process.join()
    path.unlink()
    assert (tmp_path / "mlflow.db-journal").exists()
    upgrade_store(f"sqlite:///{path}")
    assert usable(path, fresh_store)


def _end_within(path: Path, program: str) -> None:
    sqlite3.connect(path).executescript(program)
    os._exit(0)
