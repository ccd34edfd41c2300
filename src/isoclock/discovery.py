"""Find methods, architectures and readers by file, without importing any of them.

Three places are searched, there is no list to edit:

- the package: isoclock/methods, isoclock/models, isoclock/data/readers;
- plugins/methods, plugins/models and plugins/readers of the study's folder, the working directory that has params/;
- entry points of installed distributions, in the groups isoclock.methods, isoclock.models and isoclock.readers.

A file is a method if it defines a subclass of `Method`, an architecture if it defines a subclass of `Segmenter`, a reader if it
assigns `READER`. docs/plugins.md shows how to write one.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from isoclock.errors import UserError

PACKAGE = Path(__file__).parent
PLUGINS = "isoclock.plugins"
"""Import name of the study's plugins/."""


@dataclass(frozen=True)
class _Kind:
    folder: str  # in the package
    defines: str  # base class, or name that is assigned
    needs: str  # for messages


_KINDS = {
    "methods": _Kind("methods", "Method", "a subclass of isoclock.methods.Method"),
    "models": _Kind("models", "Segmenter", "a subclass of isoclock.models.Segmenter"),
    "readers": _Kind("data/readers", "READER", "an assignment to READER"),
}


@dataclass(frozen=True)
class Source:
    """Where a method, an architecture or a reader is defined. `name` is the one that params/ uses."""

    name: str
    path: Path
    module: str
    attribute: str
    definition: ast.stmt = field(compare=False, repr=False)

    def load(self) -> Any:
        """Import the class or the reader. Raises UserError if the import of a plugin fails."""
        try:
            if self.module.startswith(f"{PLUGINS}."):
                importlib.import_module(PLUGINS).__path__[:] = [str(plugin_folder())]
            return getattr(importlib.import_module(self.module), self.attribute)
        except Exception as error:
            if self.path.is_relative_to(PACKAGE):
                raise
            where = plugin_line(error) or str(self.path)
            raise UserError(f"{where}: cannot be imported ({type(error).__name__}: {error})") from error


def sources(kind: str) -> dict[str, Source]:
    """Every source of a kind (methods, models or readers), by name.

    Raises UserError with one line for each plugin that is unreadable or incomplete and each name that is defined twice.
    """
    return _sources(kind, plugin_folder())


def plugin_folder() -> Path | None:
    """plugins/ of the study; None if the working directory is no study or has no plugins."""
    folder = Path.cwd() / "plugins"
    return folder if folder.is_dir() and Path("params").is_dir() else None


def plugin_line(error: BaseException) -> str | None:
    """`file:line` of the innermost call in the study's plugins/ that an exception went through; None if there is none."""
    folder, found = plugin_folder(), None
    if isinstance(error, SyntaxError) and folder is not None and Path(error.filename or "").is_relative_to(folder):
        return f"{_shortest(Path(error.filename or ''))}:{error.lineno}"
    for frame, line in traceback.walk_tb(error.__traceback__):
        path = Path(frame.f_code.co_filename)
        if folder is not None and path.is_relative_to(folder):
            found = f"{_shortest(path)}:{line}"
    return found


def _shortest(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def module_file(module: str) -> Path | None:
    """The file of a module of the study's plugins or of another distribution, without importing it; None if there is none."""
    if module.startswith(f"{PLUGINS}."):
        names = module.removeprefix(f"{PLUGINS}.").split(".")
        folders = [folder] if (folder := plugin_folder()) else []
    else:
        top, *names = module.split(".")
        try:
            found = importlib.util.find_spec(top)
        except ValueError:  # __main__ has none
            found = None
        if found is None:
            return None
        if not names:
            return Path(found.origin) if found.origin and found.has_location else None
        folders = [Path(place) for place in found.submodule_search_locations or ()]
    for base in (folder.joinpath(*names) for folder in folders):
        for path in (base / "__init__.py", base.with_suffix(".py")):
            if path.is_file():
                return path
    return None


@cache
def _sources(kind: str, plugins: Path | None) -> dict[str, Source]:
    found: dict[str, Source] = {}
    problems: list[str] = []
    for source in (*_own(kind), *_plugins(kind, plugins, problems), *_installed(kind, problems)):
        if source.name in found:
            problems.append(f"{source.path}: {source.name!r} is also defined in {found[source.name].path}; rename one")
        else:
            found[source.name] = source
    if problems:
        raise UserError(problems)
    return dict(sorted(found.items()))


def _own(kind: str) -> Iterator[Source]:
    folder = PACKAGE / _KINDS[kind].folder
    package = ".".join(("isoclock", *_KINDS[kind].folder.split("/")))
    for name, path in _files(folder):
        for attribute, definition in _definitions(kind, ast.parse(path.read_bytes())):
            yield Source(name, path, f"{package}.{name}", attribute, definition)


def _plugins(kind: str, plugins: Path | None, problems: list[str]) -> Iterator[Source]:
    for name, path in _files(plugins / kind) if plugins is not None else ():
        if not name.startswith("_"):
            yield from _foreign(kind, name, path, f"{PLUGINS}.{kind}.{name}", "", problems)


def _installed(kind: str, problems: list[str]) -> Iterator[Source]:
    for entry in sorted(entry_points(group=f"isoclock.{kind}")):
        path = module_file(entry.module)
        if path is None:
            owner = entry.dist.name if entry.dist else "unknown"
            problems.append(
                f"entry point {entry.name!r} of {owner}: there is no module {entry.module}; reinstall {owner}"
            )
        else:
            yield from _foreign(kind, entry.name, path, entry.module, entry.attr, problems)


def _foreign(kind: str, name: str, path: Path, module: str, attribute: str, problems: list[str]) -> Iterator[Source]:
    """The source in a file that is not ours and has to have exactly one; `attribute` chooses among several."""
    try:
        found = dict(_definitions(kind, ast.parse(path.read_bytes())))
    except (SyntaxError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) else ""
        problems.append(f"{path}{line}: cannot be parsed ({error.args[0]})")
        return
    chosen = [attribute] if attribute in found else [] if attribute else list(found)
    if len(chosen) == 1:
        yield Source(name, path, module, chosen[0], found[chosen[0]])
    elif chosen:
        problems.append(f"{path}: defines {', '.join(chosen)}; keep one in each file")
    else:
        problems.append(
            f"{path}: defines no {attribute or name}; it needs {_KINDS[kind].needs} (names of helpers start with _)"
        )


def _files(folder: Path) -> list[tuple[str, Path]]:
    """Names and paths of the modules and packages in a folder, in order of name."""
    modules = [(path.stem, path) for path in folder.glob("*.py") if path.name != "__init__.py"]
    return sorted([*modules, *((path.parent.name, path) for path in folder.glob("*/__init__.py"))])


def _definitions(kind: str, module: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    """Names and statements at the top of a module that define something of a kind."""
    wanted = _KINDS[kind].defines
    for statement in module.body:
        if isinstance(statement, ast.ClassDef):
            if wanted in {ast.unparse(base).rpartition(".")[2] for base in statement.bases}:
                yield statement.name, statement
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            if wanted in {ast.unparse(target) for target in targets}:
                yield wanted, statement
