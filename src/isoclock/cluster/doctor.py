"""Checks of this machine and its cluster, with advice. They change nothing and touch no run."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from isoclock.cluster import slurm
from isoclock.cluster.doctor_slurm import examine_cluster
from isoclock.cluster.finding import Finding
from isoclock.errors import EXIT_USER_ERROR, UserError
from isoclock.gpus import DEVICE, GpuInUse
from isoclock.grid.layout import RESULTS, RUNS
from isoclock.locks import Lock
from isoclock.params.check import load_params

LOCK = Path("requirements.lock")
PARAMS = Path("params")
PYTHONS = ((3, 11), (3, 12), (3, 13))
LOCAL_FILE_SYSTEMS = ("tmpfs", "ramfs", "overlay")  # lost with the machine or the container
MIN_FREE_GB = 5.0


def examine(folder: Path = Path(), *, try_job: bool = True) -> Iterator[Finding]:
    """Check what a study in `folder` needs; yields findings one by one.

    With `try_job` False, no job is started on the cluster.
    """
    yield python()
    yield packages(folder / LOCK)
    trains_on = device()
    yield trains_on
    if trains_on.state == "ok":
        yield from precisions(folder / PARAMS)
    yield mlflow_store()
    for name in (RUNS, RESULTS):
        yield writable(folder / name)
    if slurm.available():
        yield from examine_cluster(folder, try_job=try_job)
    else:
        yield Finding("SLURM", "none", "no SLURM here", "on a cluster, run this on the head node")


def python() -> Finding:
    """Check the version of the interpreter."""
    found = platform.python_version()
    if sys.version_info[:2] in PYTHONS:
        return Finding("Python", "ok", found)
    wanted = " or ".join(f"{major}.{minor}" for major, minor in PYTHONS)
    return Finding("Python", "wrong", found, f"create the environment with Python {wanted} (see README)")


def packages(lock: Path) -> Finding:
    """Compare the installed packages with the pinned versions."""
    if not lock.is_file():
        return Finding("packages", "none", f"no {lock} to compare with", "run this in the project folder")
    pins = dict(line.split("==") for line in lock.read_text(encoding="utf-8").split() if "==" in line)
    others = []
    for name, pinned in pins.items():
        try:
            found = version(name)
        except PackageNotFoundError:
            found = "missing"
        if found.partition("+")[0] != pinned.partition("+")[0]:  # +cpu, +cu128: the same release
            others.append(f"{name} {found} (pinned {pinned})")
    if not others:
        return Finding("packages", "ok", f"{len(pins)} as pinned")
    shown = "; ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
    return Finding("packages", "warn", shown, f"pip install -r {lock}: results compare only within one set of versions")


def device() -> Finding:
    """The device that this machine trains on: `wrong` if a GPU is promised and cannot be used."""
    from isoclock.runner.device import choose_device
    from isoclock.training.device import device_kind

    try:
        found = choose_device("doctor")
    except UserError as error:
        problem, _, advice = error.problems[0].partition("; ")
        return Finding("device", "warn" if isinstance(error, GpuInUse) else "wrong", problem, advice)
    if found.type == "cuda":
        return Finding("device", "ok", device_kind(found))
    hidden = f"{DEVICE}=cpu" if os.environ.get(DEVICE) else "no GPU on this machine"
    return Finding("device", "ok", f"{device_kind(found)}, {hidden}")


def precisions(params_folder: Path) -> Iterator[Finding]:
    """Check that this machine computes the precision of each recipe as fast as float32."""
    from isoclock.runner.device import choose_device
    from isoclock.training.precision import SLOWER, slowdown

    if not params_folder.is_dir():
        yield Finding("precision", "none", f"no {params_folder}/ here", "run this in the study's folder")
        return
    try:
        recipes = load_params(params_folder).recipes
    except UserError as error:
        yield Finding("params/", "wrong", error.problems[0], "`isoclock check` reports all problems together")
        return
    for precision in sorted({recipe.precision for recipe in recipes.values()} - {"fp32"}):
        users = sorted({dataset for (dataset, _), recipe in recipes.items() if recipe.precision == precision})
        slower = slowdown(precision, choose_device())
        found = f"a matrix product takes {slower:.2g} times as long as in fp32; used by {', '.join(users)}"
        if slower <= SLOWER:
            yield Finding(precision, "ok", found)
        else:
            advice = (
                "a study grid does not run here: set `precision: fp32` in params/training.yaml, or use another device"
            )
            yield Finding(precision, "warn", found, advice)


def mlflow_store() -> Finding:
    """Check that `isoclock sync` can write to the MLflow store."""
    from isoclock.tracking.store import (
        catch_store_errors,
        check_file_locks,
        database_path,
        open_store,
        redacted,
        resolve_uri,
    )

    try:
        uri = resolve_uri()
        check_file_locks(uri)
        path = database_path(uri)
        if path is not None and not path.is_file():
            if not os.access(path.parent, os.W_OK):
                raise UserError(f"tracking store {uri}: {path.parent} cannot be written; set MLFLOW_TRACKING_URI")
            return Finding("MLflow", "ok", f"{path}: not found; `isoclock sync` creates it")
        with catch_store_errors(uri):
            open_store(uri).search_experiments(max_results=1)
    except UserError as error:
        found, _, advice = error.problems[0].partition("; ")
        return Finding("MLflow", "wrong", found, advice)
    return Finding("MLflow", "ok", redacted(uri))


def writable(folder: Path) -> Finding:
    """Check that files can be written and locked in a folder of the study, and the free disk space."""
    what = f"{folder}/"
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.is_dir())
    try:
        with tempfile.NamedTemporaryFile(dir=there, prefix=".doctor-") as stream:
            stream.write(b"doctor")
            stream.flush()
            os.fsync(stream.fileno())
        with Lock(there / f".doctor-{os.getpid()}", there, "writing here"):
            pass
    except OSError as error:
        return Finding(what, "wrong", f"{there}: {error.strerror}", "use a file system that can be written")
    except UserError as error:
        problem, _, advice = error.problems[0].partition("; ")
        return Finding(what, "wrong", problem, advice)
    status = os.statvfs(there)
    free_gb = status.f_bavail * status.f_frsize / 1e9
    kind = file_system(there)
    found = f"writable, {free_gb:.0f} GB free, {kind}"
    if free_gb < MIN_FREE_GB:
        return Finding(what, "warn", found, "free some disk space: a run stops if its checkpoint cannot be saved")
    if slurm.available() and kind in LOCAL_FILE_SYSTEMS:
        return Finding(what, "warn", found, "other nodes cannot access it; keep the study on a shared file system")
    return Finding(what, "ok", found)


def file_system(folder: Path) -> str:
    """Type of the file system of a folder, from /proc/mounts."""
    mounts = Path("/proc/mounts")
    if not mounts.is_file():
        return "file system unknown"
    path, best, kind = folder.resolve(), -1, "unknown"
    for line in mounts.read_text(encoding="utf-8").splitlines():
        _, point, found, *_ = line.split()
        point = point.replace("\\040", " ")
        if path.is_relative_to(point) and len(point) >= best:
            best, kind = len(point), found
    return kind


def report(findings: Iterable[Finding]) -> int:
    """Print a table of findings and the advice below it. Returns the exit status: 2 if any finding is `wrong`."""
    from rich.markup import escape
    from rich.table import Table

    from isoclock.progress import table_console

    marks = {"ok": "[green]ok[/]", "warn": "[yellow]warn[/]", "wrong": "[red]wrong[/]", "none": "-"}
    table = Table(box=None, pad_edge=False)
    for heading in ("", "check", "found"):
        table.add_column(heading, overflow="fold")
    found = list(findings)
    for finding in found:
        table.add_row(marks[finding.state], finding.what, escape(finding.found))
    console = table_console()
    console.print(table)
    for finding in found:
        if finding.advice:
            console.print(f"\n{marks[finding.state]} {finding.what}: {escape(finding.advice)}")
    return EXIT_USER_ERROR if any(finding.state == "wrong" for finding in found) else 0
