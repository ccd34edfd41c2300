"""Settings of a test's cluster: three nodes on this machine, with GPUs that are device files and nothing else.

The two small nodes are there to be lost. Everything lies in one folder.
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
from pathlib import Path

import accounting
from processes import free_ports

HOST = socket.gethostname().split(".")[0]  # also the first node's name
CPUS = 64  # declared to SLURM, so that jobs wait only for what a test makes them wait for
# By type: who asks for a type gets in the way of its holder only.
GPUS = {"plain": 6, "hunted": 1, "doomed": 1, "fragile": 1, "brittle": 1}
SMALL_NODES = ("fragile", "brittle")  # each has one more GPU of the type that is called like it
NODES = (HOST, *SMALL_NODES)
NVIDIA = 195  # major device number; no driver is needed

# The partitions `hunted` (requeues) and `doomed` (cancels) are preempted, each by an urgent one of its own. GraceTime is for
# trainers that save and end by themselves; one that does not is killed at its end. The nodes that are lost are in `mortal`
# alone: what another test runs never lands on them. Jobs of `brief` get their signal one to two minutes after their start.
PARTITIONS = """\
PartitionName=gpu Nodes={host} Default=YES PriorityTier=10 PreemptMode=OFF MaxTime=1-00:00:00 State=UP
PartitionName=brief Nodes={host} PriorityTier=10 PreemptMode=OFF MaxTime=5 State=UP
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
MinJobAge={remembers_s}
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
AccountingStorageEnforce=associations,limits,qos
AccountingStorageHost=localhost
AccountingStoragePort={port}
# munged's socket, once more: AuthInfo is not for slurmdbd.
AccountingStoragePass={folder}/munge/socket
AccountingStoreFlags=job_comment"""

SMALL_NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} Gres=gpu:{name}:1 Weight=1\n"
# Where $SLURM_CONF is not set these find the cluster all the same, as a site's own commands do. Snakemake's executor starts
# srun without any variable of SLURM's.
WRAPPED = ("srun", "sbatch", "scontrol", "sacct", "sinfo")
WRAPPER = '#!/bin/sh\nSLURM_CONF=${{SLURM_CONF:-{folder}/slurm.conf}} exec {program} "$@"\n'


def configure(folder: Path, *, accounts: bool, remembers_s: int) -> None:
    """Write everything that the daemons read, and make the folders that they write to."""
    for name in ("munge", "controller", "bin", *(f"node-{node}" for node in NODES)):
        (folder / name).mkdir()
    folder.chmod(0o755)  # munged wants its socket's folder to be reachable
    for name in WRAPPED:
        (folder / "bin" / name).write_text(WRAPPER.format(folder=folder, program=shutil.which(name)))
        (folder / "bin" / name).chmod(0o755)
    gres = _make_gpus(folder)
    memory_mb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    controller_port, node_port, database_port, *small_ports = free_ports(3 + len(SMALL_NODES))
    if accounts:
        accounting.configure(folder, database_port)
    settings = SETTINGS.format(
        host=HOST,
        folder=folder,
        cpus=CPUS,
        memory_mb=memory_mb,
        gres=gres,
        controller_port=controller_port,
        node_port=node_port,
        remembers_s=remembers_s,
        accounting=ACCOUNTING.format(port=database_port, folder=folder) if accounts else NO_ACCOUNTING,
    )
    for node, port in zip(SMALL_NODES, small_ports, strict=True):
        settings += SMALL_NODE.format(name=node, host=HOST, port=port)
    (folder / "slurm.conf").write_text(settings + PARTITIONS.format(host=HOST))


def _make_gpus(folder: Path) -> str:
    """Make device files and write gres.conf; returns the GPUs of the first node in the format of slurm.conf."""
    devices, lines, number = [], [], 0
    for kind, count in GPUS.items():
        first = number
        for number in range(first, first + count):
            os.mknod(folder / f"gpu{number}", 0o666 | stat.S_IFCHR, os.makedev(NVIDIA, number))
        span = f"[{first}-{number}]" if count > 1 else str(first)
        lines.append(f"NodeName={HOST} Name=gpu Type={kind} File={folder}/gpu{span}")
        devices.append(f"gpu:{kind}:{count}")
        number += 1
    lines += [f"NodeName={node} Name=gpu Type={node} File={folder}/gpu0" for node in SMALL_NODES]
    (folder / "gres.conf").write_text("\n".join(lines) + "\n")
    return ",".join(devices)
