"""Code of plugins, for stamps: the files of a plugin, what they import of their own distribution, and what of isoclock."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path

from isoclock.discovery import PLUGINS, module_file, sources
from isoclock.grid.imports import imported_modules

_KINDS = {"methods": "methods", "models": "models", "data.readers": "readers"}


def split_plugins(modules: Sequence[str]) -> tuple[list[str], dict[str, Path]]:
    """`modules` such as `methods.huber`, as modules of isoclock and files of plugins by import name.

    The modules of isoclock, which are named without their leading `isoclock.`, are those of `modules` that are its own, and
    those that the plugins import.
    """
    own: list[str] = []
    files: dict[str, Path] = {}
    for module in modules:
        folder, _, name = module.rpartition(".")
        source = sources(_KINDS[folder]).get(name) if folder in _KINDS else None
        if source is None or source.module == f"isoclock.{module}":
            own.append(module)
        else:
            own += _follow(source.module, files)
    return own, files


def _follow(module: str, files: dict[str, Path]) -> list[str]:
    """Add the files of a plugin's module and of all that it imports of its own distribution; returns what it imports of ours."""
    root = PLUGINS if module.startswith(f"{PLUGINS}.") else module.partition(".")[0]
    waiting, own = [module], []
    while waiting:
        module = waiting.pop()
        path = None if module in files else module_file(module)
        if path is None:
            continue
        files[module] = path
        parent = module.rpartition(".")[0]
        package = module if path.name == "__init__.py" else parent
        for imported in (parent, *map(_defining, imported_modules(ast.parse(path.read_bytes()), package))):
            if f"{imported}.".startswith(f"{root}."):
                waiting.append(imported)  # of a package, its __init__ runs too
            elif imported.startswith("isoclock."):
                own.append(imported.removeprefix("isoclock."))
    return own


def _defining(name: str) -> str:
    """The module that defines a class which `isoclock.methods` or `isoclock.models` offers by name; other names as they are."""
    package, _, attribute = name.rpartition(".")
    if package in ("isoclock.methods", "isoclock.models"):
        for source in sources(package.removeprefix("isoclock.")).values():
            if source.attribute == attribute:
                return source.module
    return name
