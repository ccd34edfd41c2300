"""An accounting database for a test's cluster: MariaDB and slurmdbd, with sockets and ports of their own, all in its folder."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path

from timing import COMMAND_S

PACKAGES = ("slurmdbd", "mariadb-server")
PROGRAMS = ("slurmdbd", "mariadbd", "mariadb-install-db")
SETTINGS = """\
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
DbdHost=localhost
DbdPort={port}
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm_acct_db
PidFile={folder}/slurmdbd.pid
LogFile={folder}/slurmdbd.log
"""


def configure(folder: Path, port: int) -> None:
    """Write slurmdbd's settings next to slurm.conf, where it is looked up, and create an empty database."""
    path = folder / "slurmdbd.conf"
    path.write_text(SETTINGS.format(folder=folder, port=port))
    path.chmod(0o600)
    data = folder / "mysql"
    data.mkdir()
    owner = pwd.getpwnam("mysql")
    os.chown(data, owner.pw_uid, owner.pw_gid)
    command = ["mariadb-install-db", "--no-defaults", "--user=mysql", f"--datadir={data}", "--skip-test-db"]
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=2 * COMMAND_S, check=True)


def start_database(folder: Path, environment: dict[str, str]) -> None:
    """Start MariaDB on a socket in the folder; it answers a little later."""
    data = folder / "mysql"
    options = ["--no-defaults", "--user=mysql", f"--datadir={data}", f"--socket={socket(folder)}", "--skip-networking"]
    sizes = ["--innodb-buffer-pool-size=64M", "--innodb-lock-wait-timeout=900"]  # slurmdbd complains of less
    with (folder / "mariadbd.log").open("w") as log:
        process = subprocess.Popen(
            [str(shutil.which("mariadbd")), *options, *sizes],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    (folder / "mariadbd.pid").write_text(str(process.pid))


def socket(folder: Path) -> Path:
    """Where MariaDB listens; slurmdbd gets it from $MYSQL_UNIX_PORT."""
    return folder / "mysql" / "socket"


def database_answers(folder: Path) -> bool:
    """Whether it does yet; makes slurmdbd's database if so."""
    statement = "create database if not exists slurm_acct_db"
    command = ["mariadb", "--no-defaults", f"--socket={socket(folder)}", "-e", statement]
    return (
        subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_S, check=False
        ).returncode
        == 0
    )
