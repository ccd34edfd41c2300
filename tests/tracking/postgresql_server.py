"""A PostgreSQL server for tests, in a temporary folder and on a free port of loopback."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

PASSWORD = "s@cret/?"


@contextmanager
def postgresql_server() -> Iterator[str]:
    """The address of an empty database. Without a server or pg8000 the test is skipped, or fails under CI=true."""
    found = [shutil.which("pg_ctl"), *Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")]
    programs = next((Path(path).resolve().parent for path in found if path), None)
    if programs is None or find_spec("pg8000") is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(
            "no PostgreSQL server on this machine: apt-get install postgresql" if programs is None else "no pg8000"
        )
    user: dict[str, Any] = {}
    folder = Path(tempfile.mkdtemp(prefix="postgresql-", dir="/tmp"))  # the user of the server must be able to enter it
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        account = next(entry for entry in pwd.getpwall() if entry.pw_name in ("postgres", "nobody"))
        user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        os.chown(folder, account.pw_uid, account.pw_gid)
    (folder / "password").write_text(PASSWORD)

    def run(program: str, *words: str) -> None:
        command = [programs / program, "-D", folder / "data", *words]
        with (folder / "said").open("ab") as said:
            ended = subprocess.run(command, cwd=folder, stdout=said, stderr=said, check=False, timeout=60, **user)
        assert ended.returncode == 0, (folder / "said").read_text()

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = f"-F -p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
    try:
        run("initdb", "-U", "isoclock", "-A", "scram-sha-256", "--pwfile", "password", "--no-sync", "--no-locale")
        run("pg_ctl", "start", "-w", "-l", "log", "-o", options)
        try:
            yield f"postgresql://isoclock:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "stop", "-m", "immediate")
    finally:
        shutil.rmtree(folder)
