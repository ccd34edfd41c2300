"""Checks of this machine and its cluster, with advice. They change nothing and touch no run.

Imports the standard library only, so that it can say which packages are missing. What needs a package is checked if it is there.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import tempfile
import textwrap
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path

from isoclock.cluster import slurm
from isoclock.cluster.finding import Finding
from isoclock.errors import EXIT_USER_ERROR, UserError
from isoclock.gpus import DEVICE, GpuInUse
from isoclock.grid.layout import RESULTS, RUNS
from isoclock.locks import Lock

LOCK = Path("requirements.lock")
PARAMS = Path("params")
PYTHONS = ((3, 11), (3, 12), (3, 13))
LOCAL_FILE_SYSTEMS = ("tmpfs", "ramfs", "overlay")  # lost with the machine or the container
MIN_FREE_GB = 5.0
_MARKS = {"ok": "ok", "warn": "warn", "wrong": "wrong", "none": "-"}


def examine(folder: Path = Path(), *, try_job: bool = True) -> Iterator[Finding]:
    """Check what a study in `folder` needs; yields findings one by one.

    With `try_job` False, no job is started on the cluster.
    """
    yield python()
    yield from missing_packages(folder / LOCK)
    yield packages(folder / LOCK)
    if absent := _absent("torch", "pydantic", "yaml"):
        yield Finding("device", "none", f"not checked, because {absent} is missing")
    else:
        trains_on = device()
        yield trains_on
        if trains_on.state == "ok":
            yield from precisions(folder / PARAMS)
    if absent := _absent("mlflow", "sqlalchemy"):
        yield Finding("MLflow", "none", f"not checked, because {absent} is missing")
    else:
        yield mlflow_store()
    for name in (RUNS, RESULTS):
        yield writable(folder / name)
    if not slurm.available():
        yield Finding("SLURM", "none", "no SLURM here", "on a cluster, run this on the head node")
    elif absent := _absent("pydantic", "yaml"):
        yield Finding("SLURM", "none", f"not checked, because {absent} is missing")
    else:
        from isoclock.cluster.doctor_slurm import examine_cluster

        yield from examine_cluster(folder, try_job=try_job)


def _absent(*modules: str) -> str | None:
    """The first of some modules that is not installed; None if all are."""
    return next((name for name in modules if find_spec(name) is None), None)


def missing_packages(lock: Path) -> Iterator[Finding]:
    """The packages that isoclock needs and that are not installed, if there are any."""
    needed = needed_packages()
    missing = []
    for name in needed:
        try:
            version(name)
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        advice = "run `python3 -m venv .venv`, `. .venv/bin/activate`, `pip install -r "
        advice += f"{lock}`; if .venv is there, activating it may be all" if lock.is_file() else "requirements.lock`"
        yield Finding("missing", "wrong", f"{', '.join(missing)} ({len(missing)} of {len(needed)})", advice)


def needed_packages() -> list[str]:
    """Names of the packages that the command line needs, from pyproject.toml next to the source, or from the installed package."""
    project = Path(__file__).parents[3] / "pyproject.toml"
    if project.is_file():
        content = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
        listed = [*content["dependencies"], *content["optional-dependencies"]["pipeline"]]
    else:
        listed = [one for one in requires("isoclock") or [] if ";" not in one or 'extra == "pipeline"' in one]
    return sorted({found[0] for one in listed if (found := re.match(r"[\w.-]+", one))})


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
    from isoclock.params.check import load_params
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
    found = list(findings)
    columns = shutil.get_terminal_size((80, 24)).columns
    wide = max((len(finding.what) for finding in found), default=0)
    for finding in found:
        _print(f"{_MARKS[finding.state]:5}  {finding.what:{wide}}  ", finding.found, columns)
    for finding in found:
        if finding.advice:
            print()
            _print(f"{_MARKS[finding.state]} {finding.what}: ", finding.advice, columns, indent=2)
    return EXIT_USER_ERROR if any(finding.state == "wrong" for finding in found) else 0


def _print(start: str, text: str, columns: int, indent: int | None = None) -> None:
    """Print `start` and `text`, wrapped to `columns`; further lines are indented, by default to where `text` starts."""
    further = " " * (len(start) if indent is None else indent)
    lines = textwrap.wrap(start + text, max(40, columns), subsequent_indent=further, break_on_hyphens=False)
    print("\n".join(lines))
