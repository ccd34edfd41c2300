"""Digests of the code that a verb's results depend on: syntax trees of its modules and of all of isoclock that they import.

Comments, formatting, docstrings and a method's texts for people do not count.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

from isoclock.grid.plugin_code import split_plugins

PACKAGE = Path(__file__).parents[1]

# Modules in which a verb's work is done; what they import is followed. Reading params and writing files is no part of a
# result's meaning (the values that were read are in the stamp), so that these grounds do not retrain the world.
VERB_MODULES = {
    "prepare": ("data.packing.prepare", "data.packing.unlabelled"),
    "teacher": ("runner.run",),
    "profile": ("budget.profile",),
    "student": ("runner.run",),
    "evaluate": ("scoring.score",),
    "report": ("report.build", "budget.audit"),
}
# What a method's class tells for people: a corrected source or published figure retrains nothing.
PROSE = ("title", "source", "published", "equation", "cost", "made_fast_by", "miou")
NOT_FOLLOWED = {"teacher": "scoring", "student": "scoring", "profile": "scoring"}  # scores do not change weights
GROUND = {"files", "discovery", "cli", "errors", "grid", "params", "progress", "records", "dag", ""}
DISCOVERED = ("scoring.metrics", "report.figures")  # packages whose files are imported because they are there


def code_digest(verb: str, *modules: str) -> str:
    """Digest of the syntax trees of a verb's modules, of `modules` (such as `methods.kd`) and of all they import."""
    digest = hashlib.sha256()
    own, plugins = split_plugins(modules)
    for module, path in sorted(plugins.items()):
        digest.update(module.encode() + b"\0" + syntax_digest(path.read_bytes()).encode() + b"\0")
    for path in _closure((*VERB_MODULES[verb], *own), NOT_FOLLOWED.get(verb)):
        digest.update(
            str(path.relative_to(PACKAGE)).encode() + b"\0" + syntax_digest(path.read_bytes()).encode() + b"\0"
        )
    return digest.hexdigest()


@cache
def syntax_digest(source: bytes) -> str:
    """Digest of a module's syntax tree without docstrings and a method's prose; comments and formatting are not in a tree."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            node.body = [statement for statement in node.body if not _is_prose(statement)]
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _is_prose(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Assign) and any(
        isinstance(target, ast.Name) and target.id in PROSE for target in statement.targets
    )


def _closure(modules: tuple[str, ...], not_followed: str | None) -> list[Path]:
    waiting, seen, found = list(modules), set(GROUND), set()
    while waiting:
        module = waiting.pop()
        if module in seen or module.split(".")[0] in {not_followed, *GROUND}:
            continue
        seen.add(module)
        path = _file(module)
        if path is None:
            continue
        found.add(path)
        waiting += _imports(path)
        if module in DISCOVERED:
            waiting += [f"{module}.{file.stem}" for file in path.parent.glob("*.py") if file.stem != "__init__"]
        waiting.append(module.rpartition(".")[0])  # the package's __init__ runs too
    return sorted(found)


@cache
def _imports(path: Path) -> tuple[str, ...]:
    """Modules of isoclock that a file imports anywhere, without the leading `isoclock.`"""
    found = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ImportFrom) and (base := _imported_from(node, path)) is not None:
            found += [base, *(f"{base}.{alias.name}".lstrip(".") for alias in node.names)]
        elif isinstance(node, ast.Import):
            found += [a.name.partition(".")[2] for a in node.names if a.name.startswith("isoclock.")]
    return tuple(found)


def _imported_from(node: ast.ImportFrom, path: Path) -> str | None:
    """Module that `from X import ...` names, without the leading `isoclock.`; None if it is not of isoclock."""
    named = node.module.split(".") if node.module else []
    if node.level:
        package = path.relative_to(PACKAGE).parent.parts
        return ".".join([*package[: len(package) - node.level + 1], *named])
    return ".".join(named[1:]) if named[:1] == ["isoclock"] else None


def _file(module: str) -> Path | None:
    base = PACKAGE.joinpath(*module.split(".")) if module else PACKAGE
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None
