"""The modules that a file imports when it runs, read from its syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator


def imported_modules(tree: ast.AST, package: str) -> Iterator[str]:
    """Dotted names of the modules that a file of `package` may import; for `from a import b`, both a and a.b.

    Imports under `if TYPE_CHECKING:` do not happen and are left out.
    """
    for node in _running(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = package.split(".")
            above = names[: len(names) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those under `if TYPE_CHECKING:`."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).rpartition(".")[2] == "TYPE_CHECKING":
            for other in child.orelse:
                yield from _running(other)
        else:
            yield from _running(child)
