"""What a method's file says of itself, read from its source: names, terms, parameters, provenance. Imports no torch.

`plan`, `grid` and `--help` must know which methods there are and whether `params/methods.yaml` fits them, and may not
wait seconds for torch. So a method writes these facts as plain literals in its class body, and they are read
without running the file.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from isoclock.errors import ParamsError

Implementation = Literal["reference", "tuned"]
IMPLEMENTATIONS: tuple[str, ...] = get_args(Implementation)
REFERENCE, TUNED = IMPLEMENTATIONS

_FOLDER = Path(__file__).parent
_FACTS = ("title", "source", "terms", "published", "params", "implementations")
_MORE: dict[str, Any] = {"reads": {}, "equation": "", "cost": "", "made_fast_by": "", "miou": ()}


@dataclass(frozen=True)
class Card:
    """The facts of one method. `params` maps a name to what may stand there, see `_value_problem`.

    `reads` maps a term to the outputs that it reads of the two networks, "{tap}" standing for the value of the parameter
    `tap`: the networks are asked for these. For `isoclock methods` and docs/methods.md, where a file states them: `miou` are
    published scores, each with student, dataset, miou, from (without the method), teacher, source.
    """

    name: str
    class_name: str
    title: str
    source: str
    terms: tuple[str, ...]
    published: Mapping[str, str]
    params: Mapping[str, Mapping[str, Any]]
    implementations: tuple[str, ...]
    reads: Mapping[str, tuple[str, ...]]
    equation: str
    cost: str
    made_fast_by: str
    miou: tuple[Mapping[str, Any], ...]

    def defaults(self) -> dict[str, Any]:
        """Every parameter's value where none is given."""
        return {name: rule["default"] for name, rule in self.params.items()}

    def outputs_read(self, params: Mapping[str, Any], terms: Iterable[str]) -> frozenset[str]:
        """Outputs that `terms` read under `params`, as the file states them: none where it states nothing."""
        values = {key: "logits" if value == "logit" else value for key, value in {**self.defaults(), **params}.items()}
        return frozenset(output.format(**values) for term in terms for output in self.reads.get(term, ()))


@cache
def cards() -> dict[str, Card]:
    """The card of every method, by name: whatever file (or folder) here defines a subclass of `Method` is one."""
    found = {}
    for path in sorted([*_FOLDER.glob("*.py"), *_FOLDER.glob("*/__init__.py")]):
        name = path.parent.name if path.name == "__init__.py" else path.stem
        if path.parent == _FOLDER and path.name == "__init__.py":
            continue
        for statement in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(statement, ast.ClassDef) and any(ast.unparse(base) == "Method" for base in statement.bases):
                found[name] = _card(name, statement)
    return found


def card(name: str) -> Card:
    """The card of one method. Raises ParamsError for a name that no file has."""
    if name not in cards():
        raise ParamsError(f"method: {name!r}: unknown; there is {', '.join(cards())}")
    return cards()[name]


def signature_problems(
    name: str,
    params: Mapping[str, Any],
    *,
    implementation: str = REFERENCE,
    active_terms: frozenset[str] | None = None,
) -> list[str]:
    """All that is wrong with a method's name, implementation, terms and parameters: a line each, or no line."""
    if name not in cards():
        return [f"method: {name!r}: unknown; there is {', '.join(cards())}"]
    known = cards()[name]
    problems = []
    if implementation not in IMPLEMENTATIONS:
        problems.append(f"{name}.implementation: {implementation!r}: takes {' or '.join(IMPLEMENTATIONS)}")
    elif implementation not in known.implementations:
        problems.append(
            f"{name}.implementation: {implementation!r}: not available yet; set {' or '.join(known.implementations)}"
        )
    for term in sorted((active_terms or frozenset()) - set(known.terms)):
        problems.append(f"{name}.terms: {term!r}: unknown; {name} has {', '.join(known.terms) or 'none'}")
    for key, value in params.items():
        if key not in known.params:
            problems.append(
                f"{name}.{key}: {value!r}: unknown parameter; {name} has {', '.join(known.params) or 'none'}"
            )
        elif problem := _value_problem(known.params[key], value):
            problems.append(f"{name}.{key}: {value!r}: {problem}")
    return problems


def _value_problem(rule: Mapping[str, Any], value: Any) -> str | None:
    """What keeps `value` from following `rule`.

    Rules: {"type": "choice", "of": (...)}, {"type": "flag"}, {"type": "number" or "integer"} with any of the bounds
    "above", "below", "at_least", "at_most"; each with a "default".
    """
    if rule["type"] == "choice":
        return None if value in rule["of"] else f"takes {' or '.join(rule['of'])}"
    if rule["type"] == "flag":
        return None if isinstance(value, bool) else "takes true or false"
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return "takes a finite number"
    if rule["type"] == "integer" and not isinstance(value, int):
        return "takes a whole number"
    bounds = {
        "above": value > rule.get("above", -math.inf),
        "at_least": value >= rule.get("at_least", -math.inf),
        "below": value < rule.get("below", math.inf),
        "at_most": value <= rule.get("at_most", math.inf),
    }
    if broken := [bound for bound, kept in bounds.items() if not kept]:
        return "must be " + " and ".join(f"{bound.replace('_', ' ')} {rule[bound]}" for bound in broken)
    return None


def _card(name: str, definition: ast.ClassDef) -> Card:
    facts: dict[str, Any] = {"published": {}, "params": {}, "implementations": (REFERENCE,), **_MORE}
    for statement in definition.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            target, value = statement.targets[0].id, statement.value
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
            target, value = statement.target.id, statement.value
        else:
            continue
        if target in _FACTS or target in _MORE:
            facts[target] = ast.literal_eval(value)
    if missing := [fact for fact in _FACTS if fact not in facts]:
        raise TypeError(f"methods/{name}: class {definition.name} states no {', '.join(missing)}")
    return Card(name=name, class_name=definition.name, **facts)
