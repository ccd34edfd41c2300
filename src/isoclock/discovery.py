"""What is there by file: one file is one architecture, one data set. Nobody edits a list, nothing is imported.

A file of isoclock/models that defines a subclass of `Segmenter` is an architecture. A file of isoclock/data/readers that assigns
`READER` is a data set. (Methods say more of themselves, see `isoclock.methods.card`.)
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import cache
from pathlib import Path

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
