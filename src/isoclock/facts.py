"""Facts that a class states as literals in its body, and the rules that its parameters follow. Imports no torch.

Methods and architectures describe themselves in this way, so that params/ can be checked without importing them.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator, Mapping
from typing import Any

from isoclock.discovery import Source
from isoclock.errors import UserError
from isoclock.hints import choices, number_hint

Rules = Mapping[str, Mapping[str, Any]]
"""The rule of each parameter, by name.

{"type": "choice", "of": (...)}, {"type": "flag"}, {"type": "text"}, or {"type": "number"} and {"type": "integer"} with any of
the bounds "above", "below", "at_least" and "at_most"; with a "default", unless a value must be given.
"""

_TYPES = ("choice", "flag", "text", "number", "integer")


def literal_facts(source: Source, required: Mapping[str, type], optional: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that a class states in its body: those of `required` (name: type) and of `optional` (name: default).

    A default of None allows every type.

    Raises UserError with one line for each that is missing, no literal or of another type, and each rule of `params` that is
    incomplete or that its own default breaks.
    """
    assert isinstance(source.definition, ast.ClassDef)
    types = {**required, **{name: object if value is None else type(value) for name, value in optional.items()}}
    facts: dict[str, Any] = dict(optional)
    problems: list[tuple[int, str]] = []
    for name, value in _assignments(source.definition):
        if name not in types:
            continue
        try:
            facts[name] = ast.literal_eval(value)
        except ValueError:
            problems.append((value.lineno, f"{name} must be a literal: it is read without importing the file"))
        else:
            if not isinstance(facts[name], types[name]):
                problems.append((value.lineno, f"{name} must be a {types[name].__name__}, not {ast.unparse(value)}"))
            elif name == "params":
                problems += [(value.lineno, problem) for problem in _rule_problems(facts[name])]
    stated = {name for name, _ in _assignments(source.definition)}
    problems += [
        (source.definition.lineno, f"{name} is missing; state it as a literal in the class body")
        for name in required
        if name not in stated
    ]
    if problems:
        raise UserError([f"{source.path}:{line}: class {source.attribute}: {problem}" for line, problem in problems])
    return facts


def defaults(rules: Rules) -> dict[str, Any]:
    """The value of every parameter that has a default."""
    return {name: rule["default"] for name, rule in rules.items() if "default" in rule}


def param_problems(owner: str, rules: Rules, values: Mapping[str, Any]) -> list[str]:
    """What is wrong with the `values` of `owner`'s parameters, one line each: `owner.key: value: problem`."""
    problems = []
    for key, value in values.items():
        if key not in rules:
            problems.append(f"{owner}.{key}: {value!r}: unknown parameter; {choices(key, rules)}")
        elif problem := value_problem(rules[key], value):
            hint = number_hint(value) if rules[key]["type"] in ("number", "integer") else ""
            problems.append(f"{owner}.{key}: {value!r}: {problem}{hint}")
    required = [key for key, rule in rules.items() if "default" not in rule]
    return problems + [f"{owner}.{key}: missing; it has no default" for key in required if key not in values]


def value_problem(rule: Mapping[str, Any], value: Any) -> str | None:
    """What keeps `value` from following `rule`; None if it does."""
    if rule["type"] == "choice":
        return None if value in rule["of"] else f"must be {' or '.join(str(choice) for choice in rule['of'])}"
    if rule["type"] == "flag":
        return None if isinstance(value, bool) else "must be true or false"
    if rule["type"] == "text":
        return None if isinstance(value, str) and value else "must be a text"
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


def _assignments(definition: ast.ClassDef) -> Iterator[tuple[str, ast.expr]]:
    """Names that are assigned in a class body, with their expressions."""
    for statement in definition.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            yield statement.targets[0].id, statement.value
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
            yield statement.target.id, statement.value


def _rule_problems(rules: Rules) -> Iterator[str]:
    for name, rule in rules.items():
        kind = rule.get("type") if isinstance(rule, dict) else None
        if kind not in _TYPES or (kind == "choice") != ("of" in rule):
            yield f"params.{name}: {rule!r}: must be a rule; isoclock.facts.Rules lists them"
        elif "default" in rule and (problem := value_problem(rule, rule["default"])):
            yield f"params.{name}: default {rule['default']!r}: {problem}"
