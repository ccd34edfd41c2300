"""Choose the weights of a grid's methods at equal cost.

Every method gets the same anchor-steps for a sweep of its weights (`none`: of the learning rate) on a part of train; the rest is
scored. The choice is written to params/tuned/GRID.yaml, and a grid with `weights: tuned` uses it.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys

EXAMPLE = "tune weights-tiny --profile workflow/profiles/local"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("grid", help="a file of params/grids with `tune`, without .yaml, such as weights-tiny")
    parser.add_argument(
        "--profile",
        help="first run what is missing of the sweep, with this profile of Snakemake, such as workflow/profiles/local",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit status."""
    from isoclock.grid.layout import Layout
    from isoclock.params.check import load_params
    from isoclock.params.tuning import SWEEP
    from isoclock.report.tuning import at_the_end, choose_weights, write_weights

    params, grid = load_params(), arguments.grid
    params.grid(grid + SWEEP)  # raises where the grid has none
    if arguments.profile is not None:
        command = [sys.executable, "-m", "snakemake", "--profile", arguments.profile]
        if status := _run([*command, "--config", f"grid={grid}{SWEEP}", "--", "evaluations"]):
            return status
    chosen = choose_weights(params, grid, Layout())
    tune = params.grid(grid).tune
    for dataset, pairs in chosen.items():
        for pair, methods in pairs.items():
            for method, entry in methods.items():
                scores = ", ".join(
                    f"{factor} {'diverged' if miou is None else f'{100 * miou:.1f}'}"
                    for factor, miou in entry["miou"].items()
                )
                factor = entry["factor"]
                end = "; at the end of the sweep" if tune is not None and at_the_end(factor, tune) else ""
                print(
                    f"{dataset} {pair} {method}: x{factor:g}{end} ({scores} mIoU; {entry['anchor_steps']:,.0f} anchor-steps)"
                )
    print(write_weights(params, grid, chosen))
    return 0


def _run(command: list[str]) -> int:
    """Run a command; returns its exit status. It handles Ctrl-C itself, and gets a SIGTERM that is sent to this process."""
    with subprocess.Popen(command) as running:
        before = {
            signal.SIGINT: signal.signal(signal.SIGINT, lambda *_: None),
            signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: running.terminate()),
        }
        try:
            return running.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
