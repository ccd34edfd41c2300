"""Write docs/architecture.svg: the packages of isoclock and their imports, read from the source.

python docs/build_architecture.py                after a package was added or an import changed; also `make docs`
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from html import escape
from pathlib import Path

from isoclock.files import write_text
from isoclock.grid.imports import imported_modules

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "isoclock"
PICTURE = ROOT / "docs" / "architecture.svg"

# Pixels.
WIDTH, BOX, HIGH, ROW, MARGIN = 1000, 124, 44, 104, 20

Graph = Mapping[str, set[str]]


def packages(source: Path = SOURCE) -> list[str]:
    """Names of the packages in `source`, sorted."""
    return sorted(path.parent.name for path in source.glob("*/__init__.py"))


def modules(source: Path = SOURCE) -> list[str]:
    """Names of the modules directly in `source`, sorted; `__init__` and `__main__` are left out."""
    return sorted(path.stem for path in source.glob("*.py") if not path.stem.startswith("__"))


def imports(source: Path = SOURCE) -> dict[str, set[str]]:
    """The other packages that each package imports, at the top of a file or in a function.

    Imports below `if TYPE_CHECKING` do not happen and are left out.
    """
    known = packages(source)
    found: dict[str, set[str]] = {}
    for name in known:
        trees = [ast.parse(file.read_bytes()) for file in (source / name).rglob("*.py")]
        modules_of = [module.split(".") for tree in trees for module in imported_modules(tree, "")]
        found[name] = {parts[1] for parts in modules_of if parts[0] == "isoclock" and len(parts) > 1}
        found[name] = found[name] & set(known) - {name}
    return found


def reachable(graph: Graph) -> dict[str, set[str]]:
    """What each package imports directly or through others."""
    found: dict[str, set[str]] = {}
    for start in graph:
        seen: set[str] = set()
        waiting = sorted(graph[start])
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting.extend(sorted(graph[name]))
        found[start] = seen
    return found


def shown(graph: Graph) -> list[tuple[str, str]]:
    """The imports that are drawn: those that do not follow from a chain of others."""
    far = reachable(graph)

    def mutual(one: str, other: str) -> bool:
        return one in far[other] and other in far[one]

    def follows(importer: str, imported: str) -> bool:
        ways = graph[importer] - {imported}
        return any(imported in far[way] and not mutual(way, importer) and not mutual(way, imported) for way in ways)

    pairs = ((importer, imported) for importer in sorted(graph) for imported in sorted(graph[importer]))
    return [pair for pair in pairs if mutual(*pair) or not follows(*pair)]


def rows(graph: Graph) -> list[list[str]]:
    """Packages from top to bottom, so that each imports lower rows only. Packages that import each other share a row."""
    far = reachable(graph)
    heights: dict[str, int] = {}
    # A package that imports more comes later, so everything below it has its height already.
    for name in sorted(graph, key=lambda name: (len(far[name] | {name}), name)):
        below = [heights[other] for other in far[name] if name not in far[other]]
        heights[name] = 1 + max(below, default=-1)
    return [sorted(name for name in graph if heights[name] == level) for level in range(max(heights.values()), -1, -1)]


def picture(graph: Graph, ground: list[str]) -> str:
    """The picture as SVG: a box for each package, an arrow to what it imports, one bar for the modules below all."""
    lines = [*rows(graph)]
    centres: dict[str, tuple[float, float]] = {}
    for number, line in enumerate(lines):
        above = {name: [centres[i][0] for i in graph if name in graph[i] and i in centres] for name in line}
        line.sort(key=lambda name: (sum(above[name]) / len(above[name]) if above[name] else 0.0, name))
        for place, name in enumerate(line):
            # Rows are moved to the left and to the right in turn, so that an arrow is not hidden by the box below.
            shift = 30 if number % 2 else -30
            centres[name] = (WIDTH * (place + 0.5) / len(line) + shift, MARGIN + number * ROW + HIGH / 2)
    height = MARGIN + len(lines) * ROW + HIGH + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">',
        "<title>Packages of isoclock and their imports</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#888"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        *(_arrow(centres[importer], centres[imported]) for importer, imported in shown(graph)),
        *(_box(name, centres[name], graph[name]) for line in lines for name in line),
        f'<rect x="{MARGIN}" y="{height - MARGIN - HIGH}" width="{WIDTH - 2 * MARGIN}" height="{HIGH}" rx="6" '
        'fill="#eee" stroke="#888"/>',
        f'<text x="{WIDTH / 2:g}" y="{height - MARGIN - HIGH / 2 + 5:g}" text-anchor="middle" font-size="14">'
        f"{escape(', '.join(ground))} (every package may import them)</text>",
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    (x, y), (to_x, to_y) = start, end
    if y == to_y:  # packages that import each other: a straight line from side to side
        side = 1 if to_x > x else -1
        x, to_x, y = x + side * BOX / 2, to_x - side * BOX / 2, y + side * 6
        path = f"M{x:.0f} {y:.0f} L{to_x:.0f} {y:.0f}"
    else:
        y, to_y = y + HIGH / 2, to_y - HIGH / 2
        middle = (y + to_y) / 2
        path = f"M{x:.0f} {y:.0f} C{x:.0f} {middle:.0f} {to_x:.0f} {middle:.0f} {to_x:.0f} {to_y:.0f}"
    return f'<path d="{path}" fill="none" stroke="#888" marker-end="url(#tip)"/>'


def _box(name: str, centre: tuple[float, float], imported: set[str]) -> str:
    x, y = centre
    about = f"{name} imports {', '.join(sorted(imported)) or 'no other package'}"
    place = f'x="{x - BOX / 2:.0f}" y="{y - HIGH / 2:.0f}" width="{BOX}" height="{HIGH}" rx="6"'
    return (
        f'<g id="{name}"><title>{about}</title><rect {place} fill="#dbe9f6" stroke="#36648b"/>'
        f'<text x="{x:.0f}" y="{y + 6:.0f}" text-anchor="middle">{name}</text></g>'
    )


def main() -> None:
    """Write the picture."""
    write_text(PICTURE, picture(imports(), modules()))


if __name__ == "__main__":
    main()
