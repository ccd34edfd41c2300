"""A real SLURM on this machine: munged, slurmctld and a slurmd for each of three nodes, with GPUs that are device
files and nothing else. The two small nodes are there to be lost.

Everything but the installed packages lies in one folder, and $SLURM_CONF points there: a SLURM that this machine has anyway is
neither used nor touched, and nothing of ours is found once the folder is gone.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import accounting
from processes import children, command_of, free_ports, processes, runs, wait

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "slurm-wlm-basic-plugins", "munge")
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "munged")
HOST = socket.gethostname().split(".")[0]  # also the first node's name
CPUS = 64  # told to SLURM, so that jobs wait for nothing but what a test makes them wait for
# By type: who asks for a type gets in the way of its holder only.
GPUS = {"plain": 6, "hunted": 1, "doomed": 1, "fragile": 1, "brittle": 1}
SMALL_NODES = ("fragile", "brittle")  # each has one more GPU of the type that is called like it
NODES = (HOST, *SMALL_NODES)
NVIDIA = 195  # major device number; no driver is needed

# The partitions `hunted` (requeues) and `doomed` (cancels) are preempted, each by an urgent one of its own. GraceTime is for
# trainers that save and end by themselves; one that does not is killed at its end. The nodes that are lost are in `mortal`
# alone: what another test runs never lands on them.
PARTITIONS = """\
PartitionName=gpu Nodes={host} Default=YES PriorityTier=10 PreemptMode=OFF MaxTime=1-00:00:00 State=UP
PartitionName=doomed Nodes={host} PriorityTier=1 PreemptMode=CANCEL GraceTime=60 MaxTime=12:00:00 State=UP
PartitionName=urgent-doomed Nodes={host} PriorityTier=2 PreemptMode=OFF MaxTime=12:00:00 State=UP
PartitionName=hunted Nodes={host} PriorityTier=3 PreemptMode=REQUEUE GraceTime=60 MaxTime=12:00:00 State=UP
PartitionName=urgent-hunted Nodes={host} PriorityTier=4 PreemptMode=OFF MaxTime=12:00:00 State=UP
PartitionName=mortal Nodes=ALL PriorityTier=10 PreemptMode=OFF MaxTime=12:00:00 State=UP
PartitionName=closed Nodes={host} PriorityTier=1 PreemptMode=OFF MaxTime=30 State=DOWN
"""

SETTINGS = """\
ClusterName=isoclock-test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser=root
AuthType=auth/munge
# A job that is requeued may start again after cred_expire; the default is two minutes.
AuthInfo=socket={folder}/munge/socket,cred_expire=5
StateSaveLocation={folder}/controller
SlurmdSpoolDir={folder}/node-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
MpiDefault=none
# pgid kills what a job leaves behind, as far as that stays in its process group.
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
{accounting}
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0
# More processors than there are.
SlurmdParameters=config_overrides
ReturnToService=2
MinJobAge=3600
KillWait=10
UnkillableStepTimeout=60
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
# A job that names no memory would get all of it.
DefMemPerCPU=100
# A small node is taken first where it would do: it weighs less.
NodeName=DEFAULT CPUs={cpus} CoresPerSocket={cpus} RealMemory={memory_mb} State=UNKNOWN
NodeName={host} NodeHostname={host} NodeAddr=127.0.0.1 Port={node_port} Gres={gres} Weight=2
"""

# What the profile's squeue is for.
NO_ACCOUNTING = "AccountingStorageType=accounting_storage/none"
ACCOUNTING = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort={port}
# munged's socket, once more: AuthInfo is not for slurmdbd.
AccountingStoragePass={folder}/munge/socket
AccountingStoreFlags=job_comment"""

SMALL_NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} Gres=gpu:{name}:1 Weight=1\n"


def obstacle(packages: Sequence[str] = PACKAGES, programs: Sequence[str] = PROGRAMS) -> str | None:
    """Why no cluster can be brought up here; None if it can. Installs Debian's packages where they are missing."""
    if os.name != "posix" or not Path("/proc/self/status").exists():
        return "needs Linux"
    if os.geteuid() != 0:
        return "needs root, to install SLURM and to start jobs"
    if all(shutil.which(program) for program in programs):
        return None
    if shutil.which("apt-get") is None:
        return f"needs {', '.join(programs)}, and there is no apt-get to install them with"
    for command in (
        ("apt-get", "update", "-qq"),
        ("apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages),
    ):
        try:
            # In runlevel 1, Debian's packages start no daemons.
            environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
            done = subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"{' '.join(command[:2])} did not end within 300 s"
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            return f"{' '.join(command[:2])} failed: {last}"
    return None


@dataclass(frozen=True)
class Cluster:
    """One that is up."""

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
    def up(cls, folder: Path, *, accounts: bool = False) -> Cluster:
        """Start one in `folder`, which is empty, with an accounting database if `accounts`.

        Raises RuntimeError with the logs' ends if it does not come up.
        """
        self = cls(folder)
        self._configure(accounts)
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
        """End a node without a word, as its power supply would: its daemon, the job on it and all of its processes."""
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

    def _configure(self, accounts: bool) -> None:
        for name in ("munge", "controller", "bin", *(f"node-{node}" for node in NODES)):
            (self.folder / name).mkdir()
        # Within a job, Snakemake's executor starts srun without any variable of SLURM's.
        srun = self.folder / "bin" / "srun"
        srun.write_text(f'#!/bin/sh\nSLURM_CONF={self.folder}/slurm.conf exec {shutil.which("srun")} "$@"\n')
        srun.chmod(0o755)
        self.folder.chmod(0o755)  # munged wants its socket's folder to be reachable
        devices, lines, number = [], [], 0
        for kind, count in GPUS.items():
            first = number
            for number in range(first, first + count):
                os.mknod(self.folder / f"gpu{number}", 0o666 | stat.S_IFCHR, os.makedev(NVIDIA, number))
            span = f"[{first}-{number}]" if count > 1 else str(first)
            lines.append(f"NodeName={HOST} Name=gpu Type={kind} File={self.folder}/gpu{span}")
            devices.append(f"gpu:{kind}:{count}")
            number += 1
        lines += [f"NodeName={node} Name=gpu Type={node} File={self.folder}/gpu0" for node in SMALL_NODES]
        (self.folder / "gres.conf").write_text("\n".join(lines) + "\n")
        memory_mb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
        controller_port, node_port, database_port, *small_ports = free_ports(3 + len(SMALL_NODES))
        if accounts:
            accounting.configure(self.folder, database_port)
        settings = SETTINGS.format(
            host=HOST,
            folder=self.folder,
            cpus=CPUS,
            memory_mb=memory_mb,
            gres=",".join(devices),
            controller_port=controller_port,
            node_port=node_port,
            accounting=ACCOUNTING.format(port=database_port, folder=self.folder) if accounts else NO_ACCOUNTING,
        )
        for node, port in zip(SMALL_NODES, small_ports, strict=True):
            settings += SMALL_NODE.format(name=node, host=HOST, port=port)
        (self.folder / "slurm.conf").write_text(settings + PARTITIONS.format(host=HOST))

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
        with (self.folder / f"{daemon}.start").open("w") as told:
            # No PIPE: a daemon keeps it open, and reading it would never end.
            done = subprocess.run(
                [daemon, *options],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=told,
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
