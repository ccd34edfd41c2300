"""The start of the workflow: the Snakefile calls `open_targets` before it defines rules."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from isoclock.cluster.site import exit_with, in_use
from isoclock.dag.gate import close_gates
from isoclock.dag.targets import GridTargets
from isoclock.errors import UserError
from isoclock.grid.jobs import GridJobs
from isoclock.grid.layout import SNAKEMAKE_LOCKS, Layout
from isoclock.grid.stamps import add_missing, refresh
from isoclock.os_failures import os_problem
from isoclock.params.check import load_params
from isoclock.params.load import Params

DEFAULT_GRID = "demo"
CONFIG_KEYS = ("grid", "method")


def open_targets(config: Mapping[str, Any]) -> GridTargets:
    """Check params/, write the stamps that changed, and return the targets of the grid that `config` names.

    While a Snakemake works in this folder, existing stamps are left alone, so that neither its own jobs nor a second start
    change its inputs.

    `method` in `config` keeps the cells of one method only. For user errors it prints one line each and exits with
    status 2, because a workflow engine would wrap them in a traceback.
    """
    try:
        unknown = sorted(set(config) - set(CONFIG_KEYS))
        if unknown:
            raise UserError(f"--config: unknown key {unknown[0]!r}; choose from {', '.join(CONFIG_KEYS)}")
        params, layout, grid = load_params(), Layout(), str(config.get("grid", DEFAULT_GRID))
        if any(SNAKEMAKE_LOCKS.glob("*.lock")):
            _leave_stamps(params, grid, layout)
        else:
            refresh(params, grid, layout)
            close_gates(GridJobs.of_grid(params, grid, layout))
        targets = GridTargets(GridJobs.of_grid(params, grid, layout), in_use())
        return targets if "method" not in config else targets.of_method(str(config["method"]))
    except UserError as error:
        exit_with(error)
    except OSError as error:
        if (problem := os_problem(error)) is None:
            raise
        exit_with(problem)


def _leave_stamps(params: Params, grid: str, layout: Layout) -> None:
    if changed := add_missing(params, grid, layout):
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        print(
            f"isoclock: {changed[0]}{more}: params/ or code changed while a Snakemake works here; the change takes effect once it "
            "has ended (or after `snakemake --unlock`, if it was killed)",
            file=sys.stderr,
        )
