"""A database as the store: its driver, whether it answers, and the artifact folders that it has recorded."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from mlflow.entities import LoggedModelStatus
from sqlalchemy import NullPool, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError

from isoclock.errors import UserError

_POSTGRESQL, _PG8000 = "postgresql://", "postgresql+pg8000://"
_PACKAGES = {"MySQLdb": "mysqlclient", "psycopg2": "psycopg2-binary"}  # where a driver's package has another name
_ANSWER_S = 10.0
# Tables and columns with the place of artifacts of one run or model.
_LOCATIONS = (
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
_PENDING = LoggedModelStatus.PENDING.to_int()


def redacted(uri: str) -> str:
    """`uri` without user, password and query, so that it can be shown. A password may have `@`, `/` and `?` in it."""
    scheme, separator, rest = uri.partition("://")
    if not rest.startswith("/"):  # there is a host
        rest = rest.rpartition("@")[2]
    return f"{scheme}{separator}{rest}".partition("?")[0]


def with_driver(uri: str) -> str:
    """The address of a database, with an installed driver: pg8000 for `postgresql://` where psycopg2 is not installed.

    Raises UserError for a driver that is not installed, and for an address that SQLAlchemy cannot read.
    """
    if uri.startswith(_POSTGRESQL) and find_spec("psycopg2") is None:
        uri = _PG8000 + uri.removeprefix(_POSTGRESQL)
    try:
        make_url(uri).get_dialect().import_dbapi()
    except ModuleNotFoundError as error:
        driver = str(error.name)
        other = f" (or use {_PG8000})" if uri.startswith("postgresql") and driver != "pg8000" else ""
        raise UserError(
            f"tracking store {redacted(uri)}: its driver {driver} is not installed; "
            f"run: pip install {_PACKAGES.get(driver, driver)}{other}"
        ) from None
    except (ArgumentError, ValueError):
        raise UserError(
            f"tracking store {redacted(uri)}: not a valid address; write {_PG8000}USER:PASSWORD@HOST:PORT/DATABASE"
        ) from None
    return uri


def check_answer(uri: str) -> None:
    """Connect once; MLflow would try for minutes. Raises SQLAlchemyError, or UserError for an unknown option in `uri`."""
    limit = {"timeout": _ANSWER_S} if uri.startswith(_PG8000) else {}
    engine = create_engine(uri, poolclass=NullPool, connect_args=limit)
    try:
        engine.connect().close()
    except TypeError as error:  # the driver's function has no such argument
        raise UserError(f"tracking store {redacted(uri)}: {error}; correct the options after ?") from None


def correct_locations(uri: str, root: Path) -> list[str]:
    """Let the store write artifacts below `root`, where the study was moved or copied since its experiments were created.

    Only locations that `sync` has set (`.../mlartifacts/<data set>`) are changed. Runs whose artifacts did not move along are
    marked as not synced, and their models as not complete. Returns one line per experiment.
    """
    lines = []
    with create_engine(uri, poolclass=NullPool).begin() as connection:
        found = connection.execute(text("SELECT experiment_id, name, artifact_location FROM experiments")).all()
        for experiment, name, old in found:
            new = (root / name).as_uri()
            if old == new or not str(old).startswith("file:") or str(old).split("/")[-2:] != new.split("/")[-2:]:
                continue
            query = text("SELECT run_uuid FROM runs WHERE experiment_id = :experiment")
            runs = connection.execute(query, {"experiment": experiment}).scalars()
            lost = [{"run": run, "status": _PENDING} for run in runs if not (root / name / run).is_dir()]
            for table, column in _LOCATIONS:
                values = connection.execute(text(f"SELECT DISTINCT {column} FROM {table}")).scalars()
                moved = [
                    {"old": at, "new": new + at.removeprefix(old)} for at in values if str(at).startswith(f"{old}/")
                ]
                if moved:
                    connection.execute(text(f"UPDATE {table} SET {column} = :new WHERE {column} = :old"), moved)
            if lost:
                marks = "'isoclock.synced', 'isoclock.weights'"
                connection.execute(text(f"DELETE FROM tags WHERE run_uuid = :run AND key IN ({marks})"), lost)
                connection.execute(text("UPDATE logged_models SET status = :status WHERE source_run_id = :run"), lost)
            update = text("UPDATE experiments SET artifact_location = :at WHERE experiment_id = :experiment")
            connection.execute(update, {"at": new, "experiment": experiment})
            lines.append(f"{name}: the study was moved; artifacts are now below {root / name}")
    return lines
