"""The verb `methods`: list the method variants."""

from __future__ import annotations

import argparse

from isoclock.params.check import load_params
from isoclock.report.methods import print_methods


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line asks for; returns the exit status."""
    print_methods(load_params(), as_json=arguments.json)
    return 0
