"""Arguments that several verbs share, and types of arguments."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def add_grid(parser: argparse.ArgumentParser) -> None:
    """Add `--grid`."""
    parser.add_argument("--grid", default="demo", help="a file of params/grids, without .yaml (default: demo)")


def add_study(parser: argparse.ArgumentParser) -> None:
    """Add `--study`, for the verbs that train or profile."""
    parser.add_argument("--study", action="store_true", help="refuse a precision that is slow on this device")


def integer(least: int, most: int | None = None) -> Callable[[str], int]:
    """Type of an argument that is an integer of at least `least`, and at most `most` if given."""

    def number(text: str) -> int:
        value = int(text)
        if value < least or (most is not None and value > most):
            raise argparse.ArgumentTypeError(
                f"{value}: must be at least {least}{f' and at most {most}' if most else ''}"
            )
        return value

    number.__name__ = "integer"  # argparse names the type in its message: invalid integer value: 'x'
    return number


def positive(text: str) -> float:
    """Type of an argument that is a finite number above 0."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{value}: must be finite and above 0")
    return value
