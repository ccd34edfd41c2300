"""Import every file of a package: a file is a verb, a figure or a metric because it is there. Imports nothing else."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parent


def modules_of(package: str, *, first: Sequence[str] = (), without: Sequence[str] = ()) -> dict[str, Any]:
    """Import every file of a package of isoclock, such as "cli"; returns the modules by name.

    Modules named in `first` come first, in that order; the others follow by name. Those named in `without` are left out.
    """
    found = {path.stem for path in PACKAGE.joinpath(*package.split(".")).glob("*.py")} - {"__init__", *without}
    names = [*(name for name in first if name in found), *sorted(found.difference(first))]
    return {name: importlib.import_module(f"isoclock.{package}.{name}") for name in names}
