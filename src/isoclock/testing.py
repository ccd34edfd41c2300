"""What the public contract tests share: named checks that run under pytest, each as a test, or in a plain function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

Check = Callable[[Any], None]
"""Takes what is tested; raises AssertionError with a message."""


class Contract:
    """Base class of pytest classes that run `checks` on `subject`, one test for each check. pytest itself is not imported."""

    checks: ClassVar[Sequence[Check]]

    @property
    def subject(self) -> Any:
        """What is tested."""
        raise NotImplementedError

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Called by pytest: one test for each check."""
        if "check" in metafunc.fixturenames:
            metafunc.parametrize("check", self.checks, ids=[name_of(check) for check in self.checks])

    def test_contract(self, check: Check) -> None:
        """One check."""
        check(self.subject)


def run_checks(name: str, checks: Sequence[Check], subject: Any) -> None:
    """Run all checks. Raises AssertionError at the first that fails, with `name` and the check's name."""
    for check in checks:
        try:
            check(subject)
        except AssertionError as error:
            raise AssertionError(f"{name}: {name_of(check)}: {error}") from error


def name_of(check: Check) -> str:
    """Name of a check for people."""
    return check.__name__.removeprefix("check_")
