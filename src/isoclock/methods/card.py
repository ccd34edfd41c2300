"""The facts that a method's file states: names, terms, parameters, sources. They are read without importing torch.

`plan`, `grid` and `--help` need to know which methods exist and whether `params/methods.yaml` fits them, and should not
wait seconds for torch. A method therefore states these facts as literals in its class body, and they are read from
the source without running it.
"""

from __future__ import annotations

import ast
import inspect
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
_FACTS = ("title", "source", "terms")
_MORE: dict[str, Any] = {
    "published": {},
    "params": {},
    "implementations": (REFERENCE,),
    "reads": {},
    "cost": "",
    "made_fast_by": "",
}


@dataclass(frozen=True)
class Card:
    """The facts of one method. `params` maps a parameter's name to the rule for its value, see `_value_problem`.

    `reads` maps a term to the outputs of the two networks that it reads; "{tap}" is replaced by the value of the parameter
    `tap`. `definition` is the class's docstring, which has the formula of each term. `published` maps a term to its
    published weight and parameters; published scores are in params/published.yaml.
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
    definition: str
    cost: str
    made_fast_by: str

    def defaults(self) -> dict[str, Any]:
        """Every parameter's value where none is given."""
        return {name: rule["default"] for name, rule in self.params.items()}

    def outputs_read(self, params: Mapping[str, Any], terms: Iterable[str]) -> frozenset[str]:
        """Outputs that `terms` read under `params`, as the file states them: none where it states nothing."""
        values = {key: "logits" if value == "logit" else value for key, value in {**self.defaults(), **params}.items()}
        return frozenset(output.format(**values) for term in terms for output in self.reads.get(term, ()))

    def problems(
        self, params: Mapping[str, Any], *, implementation: str = REFERENCE, active_terms: frozenset[str] | None = None
    ) -> list[str]:
        """Everything that is wrong with an implementation, terms and parameters for this method, one line each."""
        found = []
        if implementation not in self.implementations:
            found.append(f"{self.name}.implementation: {implementation!r}: must be {' or '.join(self.implementations)}")
        for term in sorted((active_terms or frozenset()) - set(self.terms)):
            found.append(f"{self.name}.terms: {term!r}: unknown term; choose from {_listed(self.terms)}")
        for key, value in params.items():
            if key not in self.params:
                found.append(f"{self.name}.{key}: {value!r}: unknown parameter; choose from {_listed(self.params)}")
            elif problem := _value_problem(self.params[key], value):
                found.append(f"{self.name}.{key}: {value!r}: {problem}")
        return found


@cache
def cards() -> dict[str, Card]:
    """The card of every method, by name: each file or folder here that defines a subclass of `Method`."""
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
    """The card of one method. Raises ParamsError if the name is unknown."""
    if name not in cards():
        raise ParamsError(f"unknown method {name!r}; choose from {', '.join(cards())}")
    return cards()[name]


@cache
def card_of(method: type) -> Card:
    """The card of a method's class: the one found by file, or one made of the attributes of a class defined elsewhere."""
    name = method.__module__.removeprefix(f"{__package__}.").split(".")[0]
    if method.__module__.startswith(f"{__package__}.") and name in cards():
        return cards()[name]
    facts = {fact: getattr(method, fact) for fact in (*_FACTS, *_MORE) if hasattr(method, fact)}
    return _complete(method.__name__.lower(), method.__name__, facts | {"definition": inspect.getdoc(method) or ""})


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "(it has none)"


def _value_problem(rule: Mapping[str, Any], value: Any) -> str | None:
    """Why `value` does not follow `rule`; None if it does.

    Rules: {"type": "choice", "of": (...)}, {"type": "flag"}, {"type": "number" or "integer"} with any of the bounds
    "above", "below", "at_least", "at_most"; each with a "default".
    """
    if rule["type"] == "choice":
        return None if value in rule["of"] else f"must be {' or '.join(rule['of'])}"
    if rule["type"] == "flag":
        return None if isinstance(value, bool) else "must be true or false"
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return "must be a finite number"
    if rule["type"] == "integer" and not isinstance(value, int):
        return "must be an integer"
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
    facts: dict[str, Any] = {"definition": ast.get_docstring(definition) or ""}
    for statement in definition.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            target, value = statement.targets[0].id, statement.value
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
            target, value = statement.target.id, statement.value
        else:
            continue
        if target in _FACTS or target in _MORE:
            facts[target] = ast.literal_eval(value)
    return _complete(name, definition.name, facts)


def _complete(name: str, class_name: str, facts: Mapping[str, Any]) -> Card:
    if missing := [fact for fact in _FACTS if fact not in facts]:
        raise TypeError(f"class {class_name} states no {', '.join(missing)}")
    return Card(name=name, class_name=class_name, **{**_MORE, **facts})
