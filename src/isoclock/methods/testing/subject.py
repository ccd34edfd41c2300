"""The method under test: how it is built, and what it is called with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from isoclock.methods import build_method
from isoclock.methods.card import REFERENCE, Card, card
from isoclock.methods.contract import Batch, Method
from isoclock.methods.testing.inputs import CLASSES, HEIGHT, STUDENT, TEACHER, WIDTH, as_output, labels, outputs
from isoclock.models.outputs import ChannelSpec


class Subject:
    """A method under test. A subclass sets `name`, or `method` to a class, and the `params` to build it with."""

    name: ClassVar[str] = ""
    method: ClassVar[type[Method] | None] = None
    params: ClassVar[Mapping[str, Any]] = {}
    student: ClassVar[ChannelSpec] = STUDENT
    teacher: ClassVar[ChannelSpec] = TEACHER
    size: ClassVar[tuple[int, int]] = (HEIGHT, WIDTH)
    """Height and width of the outputs."""
    size_unit: ClassVar[int] = 1
    """Heights and widths that the method accepts are multiples of this."""
    least_images: ClassVar[int] = 1
    """The smallest batch of outputs of a single position that the method accepts."""
    exact_gradient: ClassVar[bool] = True
    """False for a method whose gradient is by definition not the derivative of its value."""
    implementation: str = REFERENCE
    device: torch.device | str = "cpu"
    """Where the method and its inputs are."""

    @classmethod
    def facts(cls) -> Card:
        """What the method's class states."""
        return card(cls.name) if cls.method is None else cls.method.card()

    def make(self, seed: int = 0, **changes: Any) -> Method:
        """A new method, initialised and seeded with `seed`; `changes` override arguments and params."""
        torch.manual_seed(seed)
        arguments = {
            "student": self.student,
            "teacher": self.teacher,
            "num_classes": CLASSES,
            "dataset_size": 10,
            "implementation": self.implementation,
            **self.params,
            **changes,
        }
        method = build_method(self.name, **arguments) if self.method is None else self.method(**arguments)
        method.seed(seed)
        return method.to(self.device)

    def call(self, method: Method, images: int = 3, scale: float = 1.0) -> dict[str, Tensor]:
        """The terms for the outputs and labels below."""
        student = self.student_outputs(images=images, scale=scale)
        teacher = self.teacher_outputs(images=images, scale=scale)
        return method(as_output(student), as_output(teacher), self.labels(images))

    def step(self, method: Method) -> dict[str, float]:
        """Values of a call, and of a step of the adversary if there is one."""
        terms = self.call(method)
        student, teacher = as_output(self.student_outputs()), as_output(self.teacher_outputs())
        return values_of(terms | method.adversary_step(student, teacher, self.labels(), lr_factor=1.0))

    def student_outputs(self, images: int = 3, scale: float = 1.0) -> dict[str, Tensor]:
        """The student's outputs by name, the same in every call."""
        return outputs(self.student, images=images, scale=scale, size=self.size)

    def teacher_outputs(self, images: int = 3, scale: float = 1.0) -> dict[str, Tensor]:
        """The teacher's outputs by name, the same in every call."""
        return outputs(self.teacher, images=images, seed=1, scale=scale, size=self.size)

    def labels(self, images: int = 3) -> Batch:
        """Labels of the same images."""
        return labels(images, size=self.size)


def values_of(terms: Mapping[str, Tensor]) -> dict[str, float]:
    """Each term as a number."""
    return {term: value.item() for term, value in terms.items()}


Check = Callable[[Subject], None]
"""Raises AssertionError, with a message, for a method that fails it."""
