"""Test a distillation method against the contract of `isoclock.methods.Method`, inside or outside this repository.

In a test module for pytest, each check is a test of its own, for each implementation of the method:

    from isoclock.methods.testing import MethodContract

    class TestHuber(MethodContract):
        method = Huber  # or: name = "huber", for a method that is found by its name
        params = {"temperature": 4.0}

In plain Python, without pytest: `check_method(Huber, temperature=4.0)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from isoclock.methods.testing.checking import check_method
from isoclock.methods.testing.inputs import CLASSES, HEIGHT, STRIDE, STUDENT, TEACHER, WIDTH, as_output, labels, outputs
from isoclock.methods.testing.subject import Subject

if TYPE_CHECKING:
    from isoclock.methods.testing.contract import MethodContract

__all__ = [
    "CLASSES",
    "HEIGHT",
    "STRIDE",
    "STUDENT",
    "TEACHER",
    "WIDTH",
    "MethodContract",
    "Subject",
    "as_output",
    "check_method",
    "labels",
    "outputs",
]


def __getattr__(name: str) -> Any:
    if name == "MethodContract":  # imported on demand: it needs pytest
        from isoclock.methods.testing.contract import MethodContract

        return MethodContract
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
