"""The verb `stamp`: write what each rule depends on, where it changed."""

from __future__ import annotations

import argparse

from isoclock.grid.layout import Layout
from isoclock.grid.stamps import refresh
from isoclock.params.check import load_params


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line asks for; returns the exit status."""
    for path in refresh(load_params(), arguments.grid, Layout()):
        print(path)
    return 0
