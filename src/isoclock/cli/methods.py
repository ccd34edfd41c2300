"""List the method variants: terms, weights, taps, sources, published numbers."""

from __future__ import annotations

import argparse

EXAMPLE = "methods kd"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("name", nargs="?", help="everything about one variant, such as kd; without it, a table of all")
    parser.add_argument("--json", action="store_true", help="print everything known about them as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Run the verb; returns the exit status."""
    from isoclock.params.check import load_params
    from isoclock.report.methods import print_methods

    print_methods(load_params(), arguments.name, as_json=arguments.json)
    return 0
