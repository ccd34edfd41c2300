"""The cluster, as `isoclock doctor` sees it: what of SLURM's settings makes a study fail, or hang without a word."""

from __future__ import annotations

import os
import re
import secrets
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path

from isoclock.cluster import slurm
from isoclock.cluster.finding import Finding
from isoclock.cluster.site import OVERHEAD_MIN, SITE_FILE, Site, read_site
from isoclock.errors import UserError
from isoclock.grid.layout import RUNS

INIT_S = 40  # the executor's slurm-init-seconds-before-status-checks, where the profile does not say otherwise
LEAST_GRACE_S = 60  # to write a checkpoint, and for two Snakemakes to end after the trainer
NOT_CONFIGURED = "Could not establish a configuration source"
TRY_S = 30  # how long a tiny job may wait for its GPU


def examine_cluster(folder: Path = Path(), *, try_job: bool = True) -> Iterator[Finding]:
    """What SLURM says, against the site file of the study in `folder`. `try_job` False starts no job."""
    answer = slurm.ask("scontrol", "ping")
    if answer is None or answer.status != 0 or " is UP" not in answer.said:
        told = "scontrol is not there" if answer is None else answer.complaint
        if NOT_CONFIGURED in told:
            yield Finding("SLURM", "none", "no SLURM here: its commands are installed, and know of no cluster")
            return
        advice = "ask whoever runs the cluster; meanwhile every start of Snakemake on this machine may wait ten seconds"
        yield Finding("SLURM", "wrong", told, advice)
        return
    settings = slurm.configuration()
    yield Finding("SLURM", "ok", f"{settings.get('SLURM_VERSION', '?')}, cluster {settings.get('ClusterName', '?')}")
    if os.environ.get("SLURM_CONF"):
        advice = "the executor starts srun without it: jobs must find SLURM's settings by themselves (/etc/slurm, configless)"
        yield Finding("SLURM_CONF", "warn", os.environ["SLURM_CONF"], advice)
    yield status_queries(settings, init_seconds(folder / SITE_FILE.parent / "profile.yaml"))
    try:
        site = read_site(folder / SITE_FILE)
    except UserError as error:
        yield from (Finding("site file", "wrong", problem, "mend it") for problem in error.problems)
        return
    if site.placeholders:
        yield Finding(
            "site file",
            "wrong",
            f"{SITE_FILE}: {', '.join(site.placeholders)} not filled in",
            f"write this cluster's values, or null for its defaults; partitions here: {_names()}",
        )
        return
    yield account(site, settings)
    yield from partition(site, settings)
    yield from granted(site, folder, try_job=try_job)


def status_queries(settings: dict[str, str], init_s: int) -> Finding:
    """Whether Snakemake gets to know how a job ended."""
    answer = slurm.ask("sacct", "-n", "-X", "-o", "JobID")
    sacct = answer is not None and answer.status == 0 and settings.get("AccountingStorageType", "").endswith("slurmdbd")
    age_s, needed_s = int(re.sub(r"\D", "", settings.get("MinJobAge", "")) or 0), 3 * init_s
    told = f"squeue remembers jobs for {age_s} s (MinJobAge), sacct {'works' if sacct else 'has no database'}"
    if age_s >= needed_s:
        return Finding("job states", "ok", told)
    advice = f"the executor wants MinJobAge >= {needed_s} s for squeue: ask for it, or set in the profile "
    advice += f"slurm-init-seconds-before-status-checks: {max(1, age_s // 3)}"
    if sacct:
        return Finding(
            "job states", "warn", told, f"{advice}; else it asks sacct, and waits for ever for a cancelled job"
        )
    return Finding("job states", "wrong", told, f"{advice}; else it asks sacct, and waits for ever without a word")


def init_seconds(profile: Path) -> int:
    """The profile's slurm-init-seconds-before-status-checks, or the executor's default."""
    text = profile.read_text(encoding="utf-8") if profile.is_file() else ""
    found = re.search(r"^slurm-init-seconds-before-status-checks: *(\d+)", text, re.MULTILINE)
    return int(found[1]) if found else INIT_S


def account(site: Site, settings: dict[str, str]) -> Finding:
    """The executor checks an account with the accounting database, and ends every job where there is none."""
    stored = settings.get("AccountingStorageType", "").endswith("slurmdbd")
    enforced = settings.get("AccountingStorageEnforce", "none") not in ("none", "(null)")
    if site.account is not None and not stored:
        advice = f"{SITE_FILE}: write `account: null`: no job is submitted with one where nobody accounts"
        return Finding("account", "wrong", f"{site.account}, and this cluster has no accounting database", advice)
    if site.account is None and enforced:
        advice = f"{SITE_FILE}: name your account, if jobs are refused without one"
        return Finding("account", "warn", "none named, and this cluster enforces accounts", advice)
    return Finding("account", "ok", site.account or "none")


def partition(site: Site, settings: dict[str, str]) -> Iterator[Finding]:
    """Whether the partition is there, how long its jobs may be, and what its preemption does to a study."""
    found = slurm.partition(site.partition)
    if found is None:
        wanted = site.partition or "no default partition"
        yield Finding("partition", "wrong", f"{wanted}: not there", f"{SITE_FILE}: name one of {_names()}")
        return
    if not found.up:
        yield Finding("partition", "wrong", f"{found.name} takes no jobs now", f"wait, or name another of {_names()}")
        return
    limit = "no time limit" if found.limit_min is None else f"jobs of up to {found.limit_min} min"
    if site.job_limit_min is not None:
        limit += f", {site.job_limit_min} wanted"
    usable = site.limit_min is None or site.limit_min >= 2 * OVERHEAD_MIN
    advice = "" if usable else f"a job needs {OVERHEAD_MIN} min beside its training: take a partition with longer jobs"
    yield Finding("partition", "ok" if usable else "wrong", f"{found.name}: {limit}", advice)
    yield preemption(found, settings.get("PreemptType", "preempt/none"), site.spare_retries)


def preemption(found: slurm.Partition, preempt_type: str, spare_retries: int) -> Finding:
    """What hangs, or costs, with this partition's way to preempt."""
    modes = set(found.preempt_mode.split(","))
    if preempt_type == "preempt/none" or modes <= {"OFF", "GANG"}:
        return Finding("preemption", "ok", "jobs here are not preempted")
    told = f"{found.preempt_mode}, {found.grace_s} s of grace"
    bounded = (
        f"each preemption takes one of a cell's spare retries ({SITE_FILE}: spare_retries: {spare_retries}): a trainer that "
        "saves and ends in time has failed for SLURM"
    )
    if "SUSPEND" in modes:
        advice = (
            "a suspended job keeps its GPU memory and its train clock runs on: cells come out off-budget; use another"
        )
        return Finding("preemption", "warn", told, advice)
    if "CANCEL" in modes:
        hang = (
            "a job that is still there when its grace ends stays PREEMPTED, and Snakemake waits for it for ever (then: Ctrl-C, "
            f"and start again). Use a partition that requeues, or one with GraceTime >= {LEAST_GRACE_S}; {bounded}"
        )
        return Finding("preemption", "warn" if found.grace_s >= LEAST_GRACE_S else "wrong", told, hang)
    return Finding("preemption", "ok", told, bounded)


def granted(site: Site, folder: Path, *, try_job: bool) -> Iterator[Finding]:
    """Whether a job with one GPU would be taken, and, if it can start now, what it sees of GPU and study."""
    tiny = [*site.options, "-t", "1", "-n", "1"]
    answer = slurm.ask("sbatch", "--test-only", *tiny, "--wrap", "true")
    if answer is None or answer.status != 0:
        told = "sbatch is not there" if answer is None else answer.complaint
        advice = (
            f"sbatch --test-only {' '.join(tiny)}: change what it complains of in {SITE_FILE} (gpu_as, gpu_model, ...)"
        )
        yield Finding("a GPU", "wrong", told, advice)
        return
    if not try_job:
        yield Finding("a GPU", "ok", "such jobs are taken (none was started)")
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
        # Anywhere: the study's folder may not be on the node, which is what is to be found out.
        command = ["srun", "--quiet", f"--immediate={TRY_S}", "--chdir=/", *tiny, "sh", "-c", script]
        answer = slurm.ask(*command, timeout_s=2 * TRY_S)
    if answer is None or answer.status != 0:
        told = "srun is not there" if answer is None else answer.complaint
        yield Finding("a GPU", "none", f"no job started within {TRY_S} s: {told}", "try again when a GPU is free")
        return
    seen = dict(re.findall(r"^(\w+)=(.*)$", answer.said, re.MULTILINE))
    yield _gpu(site, seen)
    yield _shared(shared, seen, token)


def _gpu(site: Site, seen: dict[str, str]) -> Finding:
    if seen.get("gpus"):
        return Finding("a GPU", "ok", f"granted on {seen.get('node')} (CUDA_VISIBLE_DEVICES={seen['gpus']})")
    other = "gres" if site.gpu_as == "gpu" else "gpu"
    advice = f"{SITE_FILE}: try `gpu_as: {other}`, or another partition: training would be on the node's CPU"
    return Finding("a GPU", "wrong", f"asked for, and the job on {seen.get('node')} saw none", advice)


def _shared(folder: Path, seen: dict[str, str], token: str) -> Finding:
    node = f"on {seen.get('node')}: {seen.get('type') or 'not there'}"
    if seen.get("token") != token:
        advice = "move the study to a file system that head node and nodes share (a home or a scratch folder)"
        return Finding("shared folder", "wrong", f"{folder} is another one {node}", advice)
    if seen.get("writable") != "yes":
        return Finding("shared folder", "wrong", f"{folder} cannot be written {node}", "jobs must write there")
    return Finding("shared folder", "ok", f"{folder} is seen and writable {node}")


def _names() -> str:
    return ", ".join(one.name for one in slurm.partitions()) or "(SLURM tells none)"
