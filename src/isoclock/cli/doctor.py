"""Report what is missing on this machine and its cluster, and what to change."""

from __future__ import annotations

import argparse

EXAMPLE = "doctor --no-job"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--no-job", action="store_true", help="query SLURM only, without starting a job")


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit status."""
    from isoclock.cluster.doctor import examine, report

    return report(examine(try_job=not arguments.no_job))
