"""The verb `adopt`: take results from elsewhere as made here."""

from __future__ import annotations

import argparse

from isoclock.dag.adopt import adopt
from isoclock.grid.layout import Layout
from isoclock.params.check import load_params


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line asks for; returns the exit status."""
    adopt(load_params(), arguments.grid, Layout())
    return 0
