"""A real SLURM on this machine: munged, slurmctld and a slurmd for each of three nodes.

Except for the installed packages everything is in one folder, and $SLURM_CONF points there. Another SLURM on this machine
is neither used nor changed, and nothing is left once the folder is removed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import accounting
from processes import MARK, children, command_of, processes, runs, wait
from settings import NODES, configure
from timing import COMMAND_S

KEEPER = Path(__file__).with_name("keeper.py")


@dataclass(frozen=True)
class Cluster:
    """A running cluster."""

    folder: Path
    keeper: subprocess.Popen[bytes]  # ends it, even if this process is killed

    @property
    def environment(self) -> dict[str, str]:
        """What SLURM's commands need to find it, and no SLURM around this process."""
        outer = {
            name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_", "SRUN_"))
        }
        path = f"{self.folder / 'bin'}{os.pathsep}{outer['PATH']}"
        # The second is for slurmdbd, where there is one.
        database = {"MYSQL_UNIX_PORT": str(accounting.socket(self.folder))}
        return {
            **outer,
            **database,
            "PATH": path,
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            MARK: str(self.folder),
        }

    @classmethod
    def up(cls, folder: Path, *, accounts: bool = False, remembers_s: int = 3600) -> Cluster:
        """Start one in `folder`, which is empty, with an accounting database if `accounts`.

        squeue lists a job for `remembers_s` after its end (MinJobAge). Raises RuntimeError with the end of each log if
        the cluster does not start.
        """
        command = [sys.executable, str(KEEPER), str(folder), str(os.getpid())]
        unmarked = {name: value for name, value in os.environ.items() if name != MARK}
        keeper = subprocess.Popen(command, env=unmarked, stdin=subprocess.PIPE, start_new_session=True)
        self = cls(folder, keeper)
        configure(folder, accounts=accounts, remembers_s=remembers_s)
        try:
            self._start_munge()
            if accounts:
                self._start_accounting()
            self.start_controller()
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
            timeout=COMMAND_S,
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

    def start_controller(self) -> None:
        """Start slurmctld, with the jobs that it knew when it ended."""
        self._start("slurmctld")
        self._until(lambda: self._answers("scontrol", "ping"), "slurmctld answers")

    def stop_controller(self) -> None:
        """End slurmctld; the daemons of the nodes and the jobs go on."""
        pid = self._pid("slurmctld")
        assert pid is not None, "slurmctld runs"
        os.kill(pid, signal.SIGTERM)
        self._until(lambda: not runs(pid), "slurmctld ends")

    def down(self) -> None:
        """End the daemons and everything that was started for this cluster, and remove the folder."""
        self.keeper.communicate(b"end", COMMAND_S)

    def _start_accounting(self) -> None:
        accounting.start_database(self.folder, self.environment)
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
                timeout=COMMAND_S,
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

    def _until(self, holds: Callable[[], bool], what: str, limit_s: float = COMMAND_S) -> None:
        if not wait(holds, limit_s):
            raise RuntimeError(f"within {limit_s:.0f} s it did not happen that {what}: {self._logs()}")

    def _logs(self) -> str:
        logs = [*self.folder.glob("*.log"), *self.folder.glob("*.start"), *self.folder.glob("munge/log")]
        return "\n".join(line for log in logs for line in log.read_text(errors="replace").splitlines()[-10:])
