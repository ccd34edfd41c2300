"""The verb `adopt`: results that came from elsewhere (`dvc pull`, a copy) are verified and taken as made here.

A checkout sets arbitrary file times, so Snakemake would make everything again. First every digest that a record holds is
compared with its file, every value with this checkout's params/ and code, and every file with `dvc.lock` if there is one; only
if all agree are the times put in order, by Snakemake's own `--touch`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from isoclock.dag.dvc_lock import DVC_LOCK, compare_with_dvc_lock
from isoclock.dag.gate import open_gates
from isoclock.dag.verify import Verifier
from isoclock.errors import ArtifactError, UserError
from isoclock.files import write_bytes, written_atomically
from isoclock.grid.cells import cells, datasets_needed, profiles_needed
from isoclock.grid.jobs import GridJobs
from isoclock.grid.layout import Layout
from isoclock.grid.stamps import refresh
from isoclock.params.load import Params

MAX_PROBLEMS_SHOWN = 20


def adopt(params: Params, grid_name: str, layout: Layout, show: Callable[[str], None] = print) -> None:
    """Verify all results of a grid and put their times in order, so that Snakemake finds nothing to do.

    Raises ArtifactError with a line for every file that is missing, damaged or of other params or code, before anything is
    touched; UserError if Snakemake cannot be run here. MLflow is brought up to date on the way.
    """
    refresh(params, grid_name, layout)
    checked = Verifier(params, layout)
    checked.grid(grid_name)
    tracked = compare_with_dvc_lock(DVC_LOCK, layout.results, checked.problems)
    if checked.problems:
        more = len(checked.problems) - MAX_PROBLEMS_SHOWN
        raise ArtifactError(
            checked.problems[:MAX_PROBLEMS_SHOWN] + ([f"and {more} more like these"] if more > 0 else [])
        )
    for output, accepted_path in _accepted(params, grid_name, layout):
        if not accepted_path.is_file():  # it is in runs/, which is not copied with results/
            write_bytes(accepted_path, output.read_bytes())
    open_gates(GridJobs.of_grid(params, grid_name, layout))  # their marks are not tracked
    for path in layout.results.rglob("*"):
        if path.is_file() and os.geteuid() not in (0, path.stat().st_uid):
            _make_ours(path)
    _sync(params, grid_name, layout, show)
    _touch(grid_name)
    against = f", {len(tracked)} of them against {DVC_LOCK}" if tracked else ""
    show(f"grid {grid_name}: {len(checked.seen | tracked)} files verified{against}")


def _accepted(params: Params, grid_name: str, layout: Layout) -> Iterator[tuple[Path, Path]]:
    """(file in results/, its accepted copy in runs/) of every profile and budget of a grid."""
    for needed in profiles_needed(params, grid_name):
        yield layout.profile(*needed), layout.accepted_record("profile", *needed)
    for where in dict.fromkeys((cell.dataset, cell.pair, cell.budget) for cell in cells(params, grid_name)):
        yield layout.accepted_budget(*where), layout.accepted_record("budget", *where)


def _make_ours(path: Path) -> None:
    """Put a copy in the place of another user's file (a link into a shared cache): its times are not ours to set."""
    with written_atomically(path) as temporary:
        shutil.copyfile(path, temporary)


def _sync(params: Params, grid_name: str, layout: Layout, show: Callable[[str], None]) -> None:
    """Fill MLflow, which is not copied with results/ either, and write the workflow's marks. A store out of reach is no error."""
    from isoclock.tracking import sync

    jobs = GridJobs.of_grid(params, grid_name, layout)
    try:
        summary = sync(
            layout.results,
            layout.runs,
            grid_name=grid_name,
            cells=jobs.cells,
            teachers_of=datasets_needed(params, jobs.cells),
        )
    except UserError as error:
        show(f"MLflow is not up to date yet: {error}")
        return
    show(summary.line)
    for mark in jobs.outputs("sync"):
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()


def _touch(grid_name: str) -> None:
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--quiet", "all", "--touch", "--forceall"]
    done = subprocess.run(
        [*command, "--config", f"grid={grid_name}", "--", "all"],
        capture_output=True,
        text=True,
        errors="backslashreplace",
        check=False,
    )
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit status {done.returncode}"]
        raise UserError(f"snakemake --touch: {lines[-1]}")
