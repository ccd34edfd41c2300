"""The verb `doctor`: what is missing on this machine and its cluster."""

from __future__ import annotations

import argparse

from isoclock.cluster.doctor import examine, report


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line asks for; returns the exit status."""
    return report(examine(try_job=not arguments.no_job))
