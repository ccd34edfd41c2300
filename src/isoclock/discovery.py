"""What is there by file: one file is one architecture, one data set. Nobody edits a list, nothing is imported.

A file of isoclock/models that defines a subclass of `Segmenter` is an architecture. A file of isoclock/data/readers that assigns
`READER` is a data set. (Methods say more of themselves, see `isoclock.methods.card`.)
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parent


@cache
def architectures() -> dict[str, str]:
    """Name of every architecture (its file's stem) and of its class."""
    return _entries("models", _subclass_of("Segmenter"))


@cache
def readers() -> dict[str, str]:
    """Name of every data set (its file's stem) and of what describes it."""
    return _entries("data/readers", _assigned("READER"))


def _entries(room: str, find: Callable[[ast.stmt], str | None]) -> dict[str, str]:
    found = {}
    for path in sorted((PACKAGE / room).glob("*.py")):
        for statement in ast.parse(path.read_bytes()).body:
            name = find(statement)
            if name is not None:
                found[path.stem] = name
    return found


def _subclass_of(base: str) -> Callable[[ast.stmt], str | None]:
    def find(statement: ast.stmt) -> str | None:
        if isinstance(statement, ast.ClassDef) and base in {ast.unparse(parent) for parent in statement.bases}:
            return statement.name
        return None

    return find


def _assigned(name: str) -> Callable[[ast.stmt], str | None]:
    def find(statement: ast.stmt) -> str | None:
        if isinstance(statement, ast.Assign):
            targets = {ast.unparse(target) for target in statement.targets}
        else:
            targets = {ast.unparse(statement.target)} if isinstance(statement, ast.AnnAssign) else set()
        return name if name in targets else None

    return find


def modules_of(package: str, *, first: Sequence[str] = (), without: Sequence[str] = ()) -> dict[str, Any]:
    """Import every file of a package of isoclock, such as "cli"; returns the modules by their names.

    Modules named in `first` come first, in that order, and the others follow by name. Those named in `without` are left out.
    """
    found = {path.stem for path in PACKAGE.joinpath(*package.split(".")).glob("*.py")} - {"__init__", *without}
    names = [*(name for name in first if name in found), *sorted(found.difference(first))]
    return {name: importlib.import_module(f"isoclock.{package}.{name}") for name in names}
