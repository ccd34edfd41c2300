"""The verb `profile`: measure what an iteration of a method costs."""

from __future__ import annotations

import argparse

from isoclock.budget.profile import profile_method
from isoclock.checks import load_params
from isoclock.grid import Layout


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line asks for; returns the exit status."""
    profile = profile_method(load_params(), arguments.dataset, arguments.pair, arguments.method, Layout())
    cost, marks = profile["cost"], profile["marks"]
    marked = f"; marked {', '.join(marks)}" if marks else ""
    print(
        f"{arguments.method}: {cost['ratio']:.3f} anchor-steps an iteration "
        f"[{cost['low']:.3f}, {cost['high']:.3f}], {profile['peak_mib']:.0f} MiB{marked}"
    )
    return 0
