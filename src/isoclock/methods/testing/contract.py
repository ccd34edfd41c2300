"""The base class of a method's tests for pytest."""

from __future__ import annotations

from collections.abc import Iterator

from isoclock.methods.testing.checking import checks_of
from isoclock.methods.testing.subject import Check, Subject
from isoclock.testing_device import tests_on

try:
    import pytest
except ImportError as error:
    raise ImportError(
        "MethodContract needs pytest: pip install 'isoclock[testing]'; check_method does without it"
    ) from error


class MethodContract(Subject):
    """A subclass that names a method is its test: each check, for each implementation, is a test of its own.

    Tests that a subclass adds run for each implementation as well, with `self.implementation` set.
    """

    @pytest.fixture(autouse=True)
    def _choose(self, implementation: str) -> Iterator[None]:
        self.implementation = implementation
        with tests_on(self.device):
            yield

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Called by pytest: one test for each implementation and check."""
        assert metafunc.cls is not None
        if "check" in metafunc.fixturenames:
            cases = [
                pytest.param(implementation, check, id=f"{name}-{implementation}")
                for name, implementation, check in checks_of(metafunc.cls)
            ]
            metafunc.parametrize(("implementation", "check"), cases)
        else:
            metafunc.parametrize("implementation", metafunc.cls.facts().implementations)

    def test_contract(self, check: Check) -> None:
        """One check."""
        check(self)
