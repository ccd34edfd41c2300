"""Arguments that several verbs share, and types of arguments."""

from __future__ import annotations

import argparse
from collections.abc import Callable

GRID = "a file of params/grids, without .yaml, such as demo"
_NAMES = {
    "dataset": "a data set of params/datasets.yaml, such as streets",
    "model": "a model of params/models.yaml, such as psp-r10t",
    "pair": "a pair of params/models.yaml, such as r10t-tiny",
    "method": "a method of params/methods.yaml, such as kd",
    "budget": "a budget of params/budgets.yaml, such as compute-140",
    "cell": "dataset/pair/method/budget/seed, such as streets/r10t-tiny/kd/compute-140/0",
}


def add_names(parser: argparse.ArgumentParser, *names: str, optional: bool = False) -> None:
    """Add positional arguments that are names of params/: dataset, model, pair, method, budget or cell."""
    for name in names:
        parser.add_argument(name, nargs="?" if optional else None, help=_NAMES[name])


def add_grid(parser: argparse.ArgumentParser) -> None:
    """Add `--grid`."""
    parser.add_argument("--grid", default="demo", help=f"{GRID} (the default)")


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
