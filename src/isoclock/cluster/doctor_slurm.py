"""The checks of `isoclock doctor` on a cluster: SLURM settings that make a study fail, or hang without a message."""

from __future__ import annotations

import os
import re
import secrets
import shlex
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from isoclock.cluster import slurm
from isoclock.cluster.finding import Finding
from isoclock.cluster.site import OVERHEAD_MIN, SITE_FILE, Site, read_site
from isoclock.errors import UserError
from isoclock.grid.layout import RUNS

INIT_S = 40  # default of the executor's slurm-init-seconds-before-status-checks
MIN_GRACE_S = 60  # to write a checkpoint, and for the two Snakemake processes of a job to end after the trainer
TRY_S = 30  # how long a test job may wait for a GPU


def examine_cluster(folder: Path = Path(), *, try_job: bool = True) -> Iterator[Finding]:
    """Compare the cluster with the site file of the study in `folder`. With `try_job` False, no job is started."""
    answer = slurm.ask("scontrol", "ping")
    if answer is None or answer.status != 0 or " is UP" not in answer.output:
        reason = "scontrol not found" if answer is None else answer.error
        if slurm.NOT_CONFIGURED in reason:
            yield Finding("SLURM", "none", "no SLURM here: its commands are installed, but no cluster is configured")
            return
        advice = "ask the cluster's administrators; until then every start of Snakemake here may wait ten seconds"
        yield Finding("SLURM", "wrong", reason, advice)
        return
    settings = slurm.configuration()
    yield Finding("SLURM", "ok", f"{settings.get('SLURM_VERSION', '?')}, cluster {settings.get('ClusterName', '?')}")
    if os.environ.get("SLURM_CONF"):
        advice = (
            "the executor starts srun without it: jobs must find SLURM's settings without it (/etc/slurm, configless)"
        )
        yield Finding("SLURM_CONF", "warn", os.environ["SLURM_CONF"], advice)
    yield status_queries(settings, init_seconds(folder / SITE_FILE.parent / "profile.yaml"))
    try:
        site = read_site(folder / SITE_FILE)
    except UserError as error:
        yield from (Finding("site file", "wrong", problem, "fix it") for problem in error.problems)
        return
    if site.placeholders:
        yield Finding(
            "site file",
            "wrong",
            f"{SITE_FILE}: {', '.join(site.placeholders)} not filled in",
            f"set this cluster's values, or null for its defaults; partitions here: {_names()}",
        )
        return
    yield account(site, settings)
    yield from partition(site, settings)
    yield from device_kinds(site)
    yield from gpu_job(site, folder, try_job=try_job)


def status_queries(settings: dict[str, str], init_s: int) -> Finding:
    """Check that Snakemake can find out how a job ended."""
    answer = slurm.ask("sacct", "-n", "-X", "-o", "JobID")
    sacct = answer is not None and answer.status == 0 and settings.get("AccountingStorageType", "").endswith("slurmdbd")
    age_s, needed_s = int(re.sub(r"\D", "", settings.get("MinJobAge", "")) or 0), 3 * init_s
    found = f"squeue lists ended jobs for {age_s} s (MinJobAge), sacct {'works' if sacct else 'has no database'}"
    if age_s >= needed_s:
        return Finding("job states", "ok", found)
    advice = f"the executor needs MinJobAge >= {needed_s} s for squeue: ask for it, or set in the profile "
    advice += (
        f"slurm-init-seconds-before-status-checks: {max(1, age_s // 3)}; otherwise it uses sacct, and waits forever"
    )
    if sacct:
        return Finding("job states", "warn", found, f"{advice} for a cancelled job")
    return Finding("job states", "wrong", found, f"{advice} without a message")


def init_seconds(profile: Path) -> int:
    """The profile's slurm-init-seconds-before-status-checks, or the executor's default."""
    text = profile.read_text(encoding="utf-8") if profile.is_file() else ""
    found = re.search(r"^slurm-init-seconds-before-status-checks: *(\d+)", text, re.MULTILINE)
    return int(found[1]) if found else INIT_S


def account(site: Site, settings: dict[str, str]) -> Finding:
    """Check the account: the executor looks it up in the accounting database, and fails every job if there is none."""
    stored = settings.get("AccountingStorageType", "").endswith("slurmdbd")
    enforced = settings.get("AccountingStorageEnforce", "none") not in ("none", "(null)")
    if site.account is not None and not stored:
        advice = f"{SITE_FILE}: set `account: null`: without an accounting database no job is submitted with an account"
        return Finding("account", "wrong", f"{site.account}, but this cluster has no accounting database", advice)
    if site.account is None and enforced:
        advice = f"{SITE_FILE}: set your account if jobs are rejected without one"
        return Finding("account", "warn", "none set, but this cluster enforces accounts", advice)
    return Finding("account", "ok", site.account or "none")


def partition(site: Site, settings: dict[str, str]) -> Iterator[Finding]:
    """Check that the partition exists, the time limit of its jobs, and what its preemption does to a study."""
    found = site.found
    if found is None:
        wanted = site.partition or "no default partition"
        yield Finding("partition", "wrong", f"{wanted}: not found", f"{SITE_FILE}: choose from {_names()}")
        return
    if not found.up:
        yield Finding("partition", "wrong", f"{found.name} is not up", f"wait, or choose another of {_names()}")
        return
    limit = "no time limit" if found.limit_min is None else f"jobs of up to {found.limit_min} min"
    limit += "".join(
        f", {minutes} by {what}" for what, minutes in site.limits_min.items() if what != f"partition {found.name}"
    )
    usable = site.limit_min is None or site.limit_min >= 2 * OVERHEAD_MIN
    advice = (
        "" if usable else f"a job needs {OVERHEAD_MIN} min in addition to training: choose a partition with longer jobs"
    )
    yield Finding("partition", "ok" if usable else "wrong", f"{found.name}: {limit}", advice)
    yield preemption(found, settings.get("PreemptType", "preempt/none"), site.spare_retries)


def preemption(found: slurm.Partition, preempt_type: str, spare_retries: int) -> Finding:
    """Check what the preemption mode of this partition does to a study."""
    modes = set(found.preempt_mode.split(","))
    if preempt_type == "preempt/none" or modes <= {"OFF", "GANG"}:
        return Finding("preemption", "ok", "jobs here are not preempted")
    mode = f"{found.preempt_mode}, {found.grace_s} s of grace"
    bounded = (
        f"each preemption uses one of a cell's spare retries ({SITE_FILE}: spare_retries: {spare_retries}): SLURM reports a "
        "trainer that saves and ends in time as failed"
    )
    if "SUSPEND" in modes:
        advice = (
            "a suspended job keeps its GPU memory, and its train clock keeps running: cells become off-budget; use "
            "another partition"
        )
        return Finding("preemption", "warn", mode, advice)
    if "CANCEL" in modes:
        hang = (
            "a job that is still running when its grace ends stays PREEMPTED, and Snakemake waits for it forever (press Ctrl-C "
            f"and start again). Use a partition that requeues, or one with GraceTime >= {MIN_GRACE_S}; {bounded}"
        )
        return Finding("preemption", "warn" if found.grace_s >= MIN_GRACE_S else "wrong", mode, hang)
    return Finding("preemption", "ok", mode, bounded)


def device_kinds(site: Site) -> Iterator[Finding]:
    """The kinds of GPUs in the partition, and the line of the site file that selects one. Nothing if SLURM lists no partition."""
    if site.found is None:
        return
    answer = slurm.ask("sinfo", "--noheader", "-p", site.partition or site.found.name, "-o", "%D %G")
    if answer is None or answer.status != 0:
        yield Finding("device kinds", "none", "sinfo not found" if answer is None else answer.error)
        return
    kinds: Counter[str] = Counter()
    for nodes, gres in (line.split(maxsplit=1) for line in answer.output.splitlines() if len(line.split()) > 1):
        for kind, count in re.findall(r"\bgpu:(?:([A-Za-z][\w.-]*):)?(\d+)", gres):
            kinds[kind] += int(nodes) * int(count)
    shown = ", ".join(f"{count} {kind or 'without a type'}" for kind, count in kinds.items()) or "no GPUs"
    lines = " or ".join(f"`gpu_model: {kind}`" for kind in kinds if kind)
    if site.gpu_model is not None and site.gpu_model not in kinds:
        advice = f"{SITE_FILE}: {f'set {lines}' if lines else 'set `gpu_model: null`, because GPUs here have no types'}"
        yield Finding("device kinds", "wrong", f"{shown}; gpu_model: {site.gpu_model}", advice)
    elif site.gpu_model is None and len(kinds) > 1:
        advice = f"{SITE_FILE}: set {lines}: costs are comparable within one kind only"
        yield Finding("device kinds", "warn", shown, advice)
    elif kinds:
        yield Finding("device kinds", "ok", shown, f"{SITE_FILE}: {lines} selects a kind" if lines else "")
    else:
        yield Finding(
            "device kinds", "warn", shown, f"{SITE_FILE}: choose a partition with GPUs, unless you train on CPUs"
        )


def gpu_job(site: Site, folder: Path, *, try_job: bool) -> Iterator[Finding]:
    """Check that SLURM accepts a job with one GPU and, if it can start now, that it sees the GPU and the study."""
    tiny = [*site.options, "-t", "1", "-n", "1"]
    answer = slurm.ask("sbatch", "--test-only", *tiny, "--wrap", "true")
    if answer is None or answer.status != 0:
        reason = "sbatch not found" if answer is None else answer.error
        advice = f"change the setting that `sbatch --test-only {' '.join(tiny)}` rejects in {SITE_FILE} (gpu_as, gpu_model, ...)"
        yield Finding("a GPU", "wrong", reason, advice)
        return
    if not try_job:
        yield Finding("a GPU", "ok", "SLURM accepts such jobs (none was started)")
        return
    shared = (folder / RUNS).absolute()
    shared = shared if shared.is_dir() else folder.absolute()
    with tempfile.NamedTemporaryFile("w", dir=shared, prefix=".doctor-", suffix=".txt") as stream:
        token = secrets.token_hex(8)
        stream.write(token)
        stream.flush()
        file, place = shlex.quote(stream.name), shlex.quote(str(shared))
        script = f'echo "node=$(uname -n)"; echo "gpus=$CUDA_VISIBLE_DEVICES"; echo "token=$(cat {file} 2>/dev/null)"; '
        script += f'test -w {place} && echo writable=yes; echo "type=$(stat -f -c %T {place} 2>/dev/null)"'
        # --chdir=/: the study folder may not exist on the node, which is what this job checks.
        command = ["srun", "--quiet", f"--immediate={TRY_S}", "--chdir=/", *tiny, "sh", "-c", script]
        answer = slurm.ask(*command, timeout_s=2 * TRY_S)
    if answer is None or answer.status != 0:
        reason = "srun not found" if answer is None else answer.error
        yield Finding("a GPU", "none", f"no job started within {TRY_S} s: {reason}", "try again when a GPU is free")
        return
    seen = dict(re.findall(r"^(\w+)=(.*)$", answer.output, re.MULTILINE))
    yield _gpu(site, seen)
    yield _shared(shared, seen, token)


def _gpu(site: Site, seen: dict[str, str]) -> Finding:
    if seen.get("gpus"):
        return Finding("a GPU", "ok", f"granted on {seen.get('node')} (CUDA_VISIBLE_DEVICES={seen['gpus']})")
    other = "gres" if site.gpu_as == "gpu" else "gpu"
    advice = f"{SITE_FILE}: try `gpu_as: {other}`, or another partition; otherwise training runs on the CPU of the node"
    return Finding("a GPU", "wrong", f"requested, but the job on {seen.get('node')} saw none", advice)


def _shared(folder: Path, seen: dict[str, str], token: str) -> Finding:
    node = f"on {seen.get('node')}: {seen.get('type') or 'not found'}"
    if seen.get("token") != token:
        advice = "move the study to a file system shared by head node and nodes (a home or a scratch folder)"
        return Finding("shared folder", "wrong", f"{folder} is another folder {node}", advice)
    if seen.get("writable") != "yes":
        return Finding("shared folder", "wrong", f"{folder} cannot be written {node}", "jobs must write there")
    return Finding("shared folder", "ok", f"{folder} is visible and writable {node}")


def _names() -> str:
    return ", ".join(one.name for one in slurm.partitions()) or "(SLURM lists none)"
