"""Digests of the code that a verb's numbers depend on: syntax trees of its modules and of all of isoclock that they import.

What a module imports under `if TYPE_CHECKING:` is not followed, and text for people does not count: comments, formatting,
docstrings, messages, and the title and sources of a method. docs/what-an-edit-retrains.md has the consequences.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from isoclock.grid.imports import imported_modules
from isoclock.grid.plugin_code import split_plugins

PACKAGE = Path(__file__).parents[1]

TRAINING = ("training.loop", "training.assemble", "methods.none")
VERB_MODULES = {
    "prepare": ("data.packing.index", "data.packing.sources", "data.packing.pack", "data.packing.verify"),
    "teacher": TRAINING,
    "import": ("models.checkpoints", "models.trained"),
    "profile": ("budget.measure", "methods.none"),
    "student": TRAINING,
    "evaluate": ("scoring.predict", "scoring.metrics"),
    "report": ("report.build", "budget.audit"),
}
"""Modules that determine a verb's numbers; what they import is followed. Code that stores, reports or survives is not there."""

# Attributes of a method's class that are text: a corrected source or published figure retrains nothing.
PROSE = ("title", "source", "published", "cost", "made_fast_by")
DISCOVERED = ("scoring.metrics", "report.figures")  # packages whose files are imported because they are there


def code_digest(verb: str, *modules: str) -> str:
    """Digest of the syntax trees of a verb's modules, of `modules` (such as `methods.kd`) and of all they import."""
    digest = hashlib.sha256()
    own, plugins = split_plugins(modules)
    for module, path in sorted(plugins.items()):
        digest.update(module.encode() + b"\0" + syntax_digest(path.read_bytes()).encode() + b"\0")
    for path in closure(*VERB_MODULES[verb], *own):
        digest.update(
            str(path.relative_to(PACKAGE)).encode() + b"\0" + syntax_digest(path.read_bytes()).encode() + b"\0"
        )
    return digest.hexdigest()


def closure(*modules: str) -> list[Path]:
    """Files of `modules` (without the leading `isoclock.`) and of all of isoclock that they import, sorted."""
    waiting, seen, found = list(modules), {""}, set()
    while waiting:
        module = waiting.pop()
        if module in seen:
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
def syntax_digest(source: bytes) -> str:
    """Digest of a module's syntax tree without text for people. Comments and formatting are not in a tree."""
    return hashlib.sha256(ast.dump(_WithoutText().visit(ast.parse(source))).encode()).hexdigest()


class _WithoutText(ast.NodeTransformer):
    """Removes docstrings and a method's prose, and empties strings in messages.

    Messages are the arguments of `raise`, of exceptions and warnings that are created, of `print` and `warn`; what is assigned
    or appended to a name that ends in `problems`; and every string of a function whose name ends in `problem` or `problems`.
    """

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return None
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.body = [statement for statement in node.body if not _is_prose(statement)]
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        if node.name.endswith(("problem", "problems")):
            node.body = [_emptied(statement) for statement in node.body]
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return _emptied(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        return _emptied(node) if _takes_message(node.func) else self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        return _emptied(node) if any(_is_problems(target) for target in node.targets) else self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        return _emptied(node) if _is_problems(node.target) else self.generic_visit(node)


class _WithoutStrings(ast.NodeTransformer):
    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.Constant("") if isinstance(node.value, str) else node

    def visit_JoinedStr(self, _node: ast.JoinedStr) -> ast.AST:
        return ast.Constant("")


def _emptied(node: Any) -> Any:
    return _WithoutStrings().visit(node)


def _takes_message(function: ast.expr) -> bool:
    if isinstance(function, ast.Attribute) and function.attr in ("append", "extend"):
        return _is_problems(function.value)
    name = (
        function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    )
    return name in ("print", "warn") or name.endswith(("Error", "Warning"))


def _is_problems(target: ast.expr) -> bool:
    if isinstance(target, ast.Subscript):
        return _is_problems(target.value)
    name = target.attr if isinstance(target, ast.Attribute) else target.id if isinstance(target, ast.Name) else ""
    return name.endswith("problems")


def _is_prose(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Assign) and any(
        isinstance(target, ast.Name) and target.id in PROSE for target in statement.targets
    )


@cache
def _imports(path: Path) -> tuple[str, ...]:
    """Modules of isoclock that a file imports when it runs, without the leading `isoclock.`"""
    package = ".".join(("isoclock", *path.relative_to(PACKAGE).parent.parts))
    names = (name.partition(".") for name in imported_modules(ast.parse(path.read_bytes()), package))
    return tuple(module for top, _, module in names if top == "isoclock")


def _file(module: str) -> Path | None:
    base = PACKAGE.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None
