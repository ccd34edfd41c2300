"""All checks of a method, and a plain function that runs them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from isoclock.methods.card import TUNED
from isoclock.methods.contract import Method
from isoclock.methods.testing import checks, equivalence, numerics, training
from isoclock.methods.testing.subject import Check, Subject
from isoclock.testing_device import tests_on

_OF_ONE: tuple[Check, ...] = (*checks.CHECKS, *numerics.CHECKS, *training.CHECKS)

BOTH = "both"
"""Where an implementation is named: the check compares the two."""


def checks_of(subject: type[Subject]) -> Iterator[tuple[str, str, Check]]:
    """(name, implementation, check) of every check that a method has to pass."""
    implementations = subject.facts().implementations
    for implementation in implementations:
        for check in _OF_ONE:
            yield _name(check), implementation, check
    if TUNED in implementations:
        for comparison in equivalence.CHECKS:
            yield _name(comparison), BOTH, comparison


def check_method(
    method: str | type[Method], *, exact_gradient: bool = True, device: str = "cpu", **params: Any
) -> None:
    """Run every check on a method: a name, or a class, which need not be in this repository.

    `device` is where the method and its inputs are, such as "cuda".

    `params` are the method's parameters; small ones make the checks fast. `exact_gradient` is False for a method whose
    gradient is by definition not the derivative of its value.

    Raises AssertionError with a line for each check that fails.
    """
    given: dict[str, Any] = {"name": method} if isinstance(method, str) else {"method": method}
    given |= {"params": params, "exact_gradient": exact_gradient, "device": device}
    kind: type[Subject] = type("Subject", (Subject,), given)
    total, failures = 0, []
    for name, implementation, check in checks_of(kind):
        subject = kind()
        subject.implementation = implementation
        total += 1
        try:
            with tests_on(device):
                check(subject)
        except Exception as error:
            kind_of_error = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
            failures.append((f"{name} ({implementation}): {kind_of_error}{error}", error))
    if failures:
        lines = "\n".join(f"  {line}" for line, _ in failures)
        raise AssertionError(f"{kind.facts().name} fails {len(failures)} of {total} checks:\n{lines}") from failures[0][
            1
        ]


def _name(check: Check) -> str:
    function = check.func if isinstance(check, partial) else check
    values = "-".join(str(value) for value in check.keywords.values()) if isinstance(check, partial) else ""
    return f"{function.__name__.removeprefix('check_')}{values and f'-{values}'}"
