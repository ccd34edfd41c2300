"""Values are checked against the rules that a class states for its parameters."""

from __future__ import annotations

import pytest

from isoclock.facts import defaults, param_problems

RULES = {
    "kind": {"type": "choice", "of": ("a", 2), "default": "a"},
    "fast": {"type": "flag", "default": True},
    "name": {"type": "text"},
    "share": {"type": "number", "at_least": 0, "below": 1, "default": 0},
    "count": {"type": "integer", "above": 0, "at_most": 9, "default": 1},
}


def test_fit_values_have_no_problem() -> None:
    assert param_problems("x", RULES, {"name": "n"}) == []
    assert param_problems("x", RULES, {"name": "n", "kind": 2, "fast": False, "share": 0.5, "count": 9}) == []
    assert defaults(RULES) == {"kind": "a", "fast": True, "share": 0, "count": 1}


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"kind": "b"}, "x.kind: 'b': must be a or 2"),
        ({"fast": 1}, "x.fast: 1: must be true or false"),
        ({"name": ""}, "x.name: '': must be a text"),
        ({"name": 3}, "x.name: 3: must be a text"),
        ({"share": 1}, "x.share: 1: must be below 1"),
        ({"share": -1}, "x.share: -1: must be at least 0"),
        ({"share": float("inf")}, "x.share: inf: must be a finite number"),
        ({"count": 1.0}, "x.count: 1.0: must be an integer"),
        ({"count": 10}, "x.count: 10: must be at most 9"),
        ({"other": 1}, "x.other: 1: unknown parameter; choose from kind, fast, name, share, count"),
    ],
)
def test_an_unfit_value_is_one_line(values: dict[str, object], problem: str) -> None:
    assert param_problems("x", RULES, {"name": "n", **values}) == [problem]


def test_a_value_without_a_default_must_be_given() -> None:
    assert param_problems("x", RULES, {}) == ["x.name: missing; it has no default"]
