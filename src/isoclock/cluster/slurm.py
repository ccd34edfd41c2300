"""Queries of SLURM. Every query ends within seconds; without SLURM the result is None or empty."""

from __future__ import annotations

import getpass
import re
import shutil
import subprocess
from dataclasses import dataclass

TIMEOUT_S = 15.0
NOT_CONFIGURED = "Could not establish a configuration source"


@dataclass(frozen=True)
class Answer:
    """Exit status of a SLURM command, and its stdout, or its stderr if it failed."""

    status: int
    output: str

    @property
    def error(self) -> str:
        """The most informative line of a failed command, without the command name: the fatal one, else the first."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()] or [f"exit status {self.status}"]
        line = next((line for line in lines if ": fatal: " in line), lines[0])
        return re.sub(r"^\w+: (error|fatal): ", "", line)


@dataclass(frozen=True)
class Partition:
    """A partition of the cluster."""

    name: str
    up: bool
    limit_min: int | None  # None: unlimited
    preempt_mode: str  # OFF, REQUEUE, CANCEL, SUSPEND, GANG and combinations
    grace_s: int  # between the first SIGTERM of a preemption and the kill
    qos: str | None = None  # the partition's own, whose limits hold in addition to those of the job's QOS


def available() -> bool:
    """Whether this machine has SLURM's commands."""
    return shutil.which("scontrol") is not None and shutil.which("sbatch") is not None


def ask(*command: str, timeout_s: float = TIMEOUT_S) -> Answer | None:
    """Run a SLURM command; None if it is not installed. A command that does not end in time has status 124."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="backslashreplace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer(124, f"no answer within {timeout_s:.0f} s")
    except OSError as error:  # too many processes or open files
        return Answer(126, str(error))
    return Answer(done.returncode, done.stdout if done.returncode == 0 else done.stderr or done.stdout)


def controller_answers() -> bool:
    """Whether a controller of the cluster is up, the backup included."""
    answer = ask("scontrol", "ping")
    return answer is not None and " is UP" in answer.output


def partitions() -> list[Partition]:
    """All partitions, the default one first. Empty if SLURM does not answer."""
    answer = ask("scontrol", "--oneliner", "show", "partition")
    if answer is None or answer.status != 0:
        return []
    found = [dict(re.findall(r"(\w+)=(\S*)", line)) for line in answer.output.splitlines()]
    found = sorted((f for f in found if "PartitionName" in f), key=lambda f: f.get("Default") != "YES")
    return [_partition(fields) for fields in found]


def partition(name: str | None) -> Partition | None:
    """The partition of that name, or the default one. Of several names, separated by commas, the one with the shortest limit.

    None if there is no such partition, or no SLURM.
    """
    found = partitions()
    if name is None:
        return found[0] if found else None
    named = [one for one in found if one.name in name.split(",")]
    return min(named, key=lambda one: one.limit_min or 1 << 30, default=None)


def configuration() -> dict[str, str]:
    """SLURM's settings by name, from `scontrol show config`. Empty if SLURM does not answer."""
    answer = ask("scontrol", "show", "config")
    if answer is None or answer.status != 0:
        return {}
    pairs = (line.partition("=") for line in answer.output.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}


def wall_limits(account: str | None, qos: str | None, partition_qos: str | None) -> dict[str, int]:
    """Minutes that a job of this user may take, by what limits it: the account, `qos` or the default QOS, and the partition's.

    If `account` is None, all accounts of the user count. Empty if the cluster enforces no such limits (none does without an
    accounting database) or does not answer.
    """
    settings = configuration()
    if (
        "limits" not in settings.get("AccountingStorageEnforce", "")
        and settings.get("AccountingStorageEnforce") != "all"
    ):
        return {}
    where = [f"user={getpass.getuser()}", f"cluster={settings.get('ClusterName')}"]
    where += [] if account is None else [f"account={account}"]
    found: dict[str, int | None] = {}
    named = {qos, partition_qos}
    for owner, default, allowed, limit in _rows("assoc", "account,defaultqos,qos,maxwall", *where):
        found[f"account {owner}"] = minutes(limit)
        if qos is None:
            named.add(default or allowed)  # the only one that is allowed is the default
    for name, limit in _rows("qos", "name,maxwall"):
        if name in named:
            found[f"QOS {name}"] = minutes(limit)
    return {name: limit for name, limit in found.items() if limit is not None}


def _rows(table: str, columns: str, *where: str) -> list[list[str]]:
    answer = ask("sacctmgr", "-nP", "show", table, *where, f"format={columns}")
    return [line.split("|") for line in answer.output.splitlines()] if answer is not None and answer.status == 0 else []


def minutes(text: str) -> int | None:
    """A time in SLURM's formats (minutes, M:S, H:M:S, D-H, D-H:M, D-H:M:S) in whole minutes; None for no limit.

    Raises ValueError for anything else.
    """
    if text.upper() in ("UNLIMITED", "INFINITE", "NONE", "N/A", "NOT_SET", ""):
        return None
    days, dash, rest = text.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if dash:  # hours come first
        hours, mins, *_ = [*parts, 0, 0]
        return int(days) * 1440 + hours * 60 + mins
    if len(parts) == 3:
        return parts[0] * 60 + parts[1]
    return parts[0]  # minutes, or minutes:seconds


def _partition(fields: dict[str, str]) -> Partition:
    return Partition(
        name=fields["PartitionName"],
        up=fields.get("State") == "UP",
        limit_min=minutes(fields.get("MaxTime", "")),
        preempt_mode=fields.get("PreemptMode", "OFF"),
        grace_s=int(re.sub(r"\D", "", fields.get("GraceTime", "0")) or 0),
        qos=fields.get("QoS", "N/A").replace("N/A", "") or None,
    )
