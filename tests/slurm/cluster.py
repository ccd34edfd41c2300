"""A real SLURM on this machine: munged, slurmctld and a slurmd for each of three nodes.

Except for the installed packages everything is in one folder, and $SLURM_CONF points there. Another SLURM on this machine
is neither used nor changed, and nothing is left once the folder is removed.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import accounting
from processes import children, command_of, processes, runs, wait
from settings import NODES, configure


@dataclass(frozen=True)
class Cluster:
    """A running cluster."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """What SLURM's commands need to find it, and no SLURM around this process."""
        outer = {
            name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_", "SRUN_"))
        }
        path = f"{self.folder / 'bin'}{os.pathsep}{outer['PATH']}"
        # The second is for slurmdbd, where there is one.
        database = {"MYSQL_UNIX_PORT": str(accounting.socket(self.folder))}
        return {**outer, **database, "PATH": path, "SLURM_CONF": str(self.folder / "slurm.conf")}

    @classmethod
    def up(cls, folder: Path, *, accounts: bool = False, remembers_s: int = 3600) -> Cluster:
        """Start one in `folder`, which is empty, with an accounting database if `accounts`.

        squeue lists a job for `remembers_s` after its end (MinJobAge). Raises RuntimeError with the end of each log if
        the cluster does not start.
        """
        self = cls(folder)
        configure(folder, accounts=accounts, remembers_s=remembers_s)
        try:
            self._start_munge()
            if accounts:
                self._start_accounting()
            self._start("slurmctld")
            self._until(lambda: self._answers("scontrol", "ping"), "slurmctld answers")
            for node in NODES:
                self._start("slurmd", "-N", node)
            self._until(lambda: set(self.nodes().values()) == {"idle"}, "the nodes are idle")
        except Exception:
            self.down()
            raise
        return self

    def ask(self, *command: str) -> str:
        """Output of a command of SLURM's, without the newline at its end."""
        done = subprocess.run(
            command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr or done.stdout}")
        return done.stdout.strip()

    def jobs(self) -> dict[int, str]:
        """State of every job that has not ended, by number."""
        lines = (line.split() for line in self.ask("squeue", "-h", "-o", "%A %T").splitlines())
        return {int(number): state for number, state in lines}

    def nodes(self) -> dict[str, str]:
        """State of each node."""
        return dict(line.split() for line in self.ask("sinfo", "-h", "-N", "-o", "%N %T").splitlines())

    def lose(self, node: str, job: int) -> None:
        """End a node like a power failure: its daemon, the job on it and all of its processes."""
        victims = [pid for pid in processes() if command_of(pid).startswith(f"slurmstepd: [{job}.")]
        for pid in victims:  # grows
            victims += children(pid)
        daemon = self._pid(f"slurmd-{node}")
        for pid in [daemon, *victims]:
            with suppress(ProcessLookupError):
                os.kill(int(pid or 0), signal.SIGKILL)
        self.ask("scontrol", "update", f"nodename={node}", "state=down", "reason=lost")

    def down(self) -> None:
        """Cancel what runs, end the daemons (and only these), and remove the folder."""
        if self._pid("slurmctld") is not None and self._answers("scontrol", "ping"):
            for options in (["--state=PENDING"], ["--signal=KILL", "--full"], []):
                subprocess.run(
                    ["scancel", *options, "-u", "root"],
                    env=self.environment,
                    capture_output=True,
                    timeout=30,
                    check=False,
                )
            wait(lambda: not self.jobs(), 30)
        for daemon in (*(f"slurmd-{node}" for node in NODES), "slurmctld", "slurmdbd", "mariadbd", "munged"):
            pid = self._pid(daemon)
            if pid is not None:
                os.kill(pid, signal.SIGTERM)
                if not wait(lambda pid=pid: not runs(pid), 15):
                    os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start_accounting(self) -> None:
        accounting.start_database(self.folder)
        self._until(lambda: accounting.database_answers(self.folder), "MariaDB answers")
        self._start("slurmdbd")
        self._until(lambda: self._answers("sacctmgr", "-n", "list", "cluster"), "slurmdbd answers")
        self.ask("sacctmgr", "-i", "-Q", "add", "cluster", "isoclock-test")

    def _start_munge(self) -> None:
        key = self.folder / "munge" / "key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        names = {"socket": "socket", "key-file": "key", "seed-file": "seed", "log-file": "log"}
        options = [f"--{option}={self.folder / 'munge' / name}" for option, name in names.items()]
        self._start("munged", *options, f"--pid-file={self.folder / 'munged.pid'}", "--force")
        self._until(lambda: (self.folder / "munge" / "socket").exists(), "munged listens")

    def _start(self, daemon: str, *options: str) -> None:
        with (self.folder / f"{daemon}.start").open("w") as log:
            # No PIPE: a daemon keeps it open, and reading it would never end.
            done = subprocess.run(
                [daemon, *options],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=30,
                check=False,
            )
        if done.returncode != 0:
            raise RuntimeError(f"{daemon} does not start: {self._logs()}")

    def _answers(self, *command: str) -> bool:
        try:
            return "DOWN" not in self.ask(*command)
        except (RuntimeError, subprocess.TimeoutExpired):
            return False

    def _pid(self, daemon: str) -> int | None:
        try:
            pid = int((self.folder / f"{daemon}.pid").read_text())
        except (FileNotFoundError, ValueError):
            return None
        return pid if runs(pid) else None

    def _until(self, holds: Callable[[], bool], what: str, limit_s: float = 30) -> None:
        if not wait(holds, limit_s):
            raise RuntimeError(f"within {limit_s:.0f} s it did not happen that {what}: {self._logs()}")

    def _logs(self) -> str:
        logs = [*self.folder.glob("*.log"), *self.folder.glob("*.start"), *self.folder.glob("munge/log")]
        return "\n".join(line for log in logs for line in log.read_text(errors="replace").splitlines()[-10:])
