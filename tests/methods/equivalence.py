"""What `tuned` owes `reference`: the same numbers, for less, and never a wait for the device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from method_inputs import CLASSES, HEIGHT, STUDENT, TEACHER, WIDTH, as_output, labels, outputs
from rounding import FLOAT32, NEAR_FLOAT64, Rounding
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from isoclock.methods import ChannelSpec, Method, card
from isoclock.models import OUTPUTS

Inputs = dict[str, Tensor]
Found = dict[str, Tensor]  # terms, gradients and buffers, by name

DISTANCES = [0.0, 1e-6, 1e-4, 1e-2, 1.0, "far", "extreme"]
"""Of a student's outputs from its teacher's of deviation 1; "far" is another network, "extreme" one of 50 times that."""
SLACK = 8
"""Rounding at random is drawn `DRAWS` times only, and a single number may be lucky in all of them."""
DRAWS = 3

HIDDEN_WAITS = ("_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "unique", "bincount", "equal.default")


class EquivalenceContract:
    """Tests of both implementations against each other; a part of MethodContract."""

    name: ClassVar[str]
    student: ClassVar[ChannelSpec] = STUDENT
    teacher: ClassVar[ChannelSpec] = TEACHER
    size: ClassVar[tuple[int, int]] = (HEIGHT, WIDTH)
    size_unit: ClassVar[int] = 1  # sides that the method takes are multiples of this
    least_images: ClassVar[int] = 1
    make: Callable[..., Method]

    def both(self, ours: Inputs, theirs: Inputs, *, double: bool = True, **changes: Any) -> list[Found]:
        """What reference and tuned find in the same inputs with the same parameters, draws and banks."""
        return [self.found(name, ours, theirs, double=double, **changes) for name in ("reference", "tuned")]

    def found(
        self,
        implementation: str,
        ours: Inputs,
        theirs: Inputs,
        *,
        double: bool = True,
        rounding: Rounding | None = None,
        gradients: bool = True,
        **changes: Any,
    ) -> Found:
        """What one implementation finds."""
        if "tuned" not in card(self.name).implementations:
            pytest.skip(f"{self.name} has one implementation")
        method = self.make(seed=5, implementation=implementation, **changes)
        method = method.double() if double else method
        return everything(method, ours, theirs, double=double, rounding=rounding, gradients=gradients)

    @pytest.mark.parametrize("scale", [1.0, 50.0])
    def test_float64_agrees_to_rounding(self, scale: float) -> None:
        student = outputs(self.student, seed=2, scale=scale, size=self.size)
        teacher = outputs(self.teacher, seed=3, scale=scale, size=self.size)
        assert_close(*self.both(student, teacher), tolerance=1e-10)

    def test_float64_agrees_where_the_student_has_nearly_converged(self) -> None:
        student, teacher = near(self.teacher, self.size, 0.01)
        assert_close(*self.both(student, teacher, student=self.teacher), tolerance=1e-10)

    @settings(
        max_examples=8,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
    )
    @given(data=st.data())
    def test_float64_agrees_at_any_size(self, data: st.DataObject) -> None:
        images = data.draw(st.integers(self.least_images, self.least_images + 2), "images")
        classes = data.draw(st.integers(2, 7), "classes")
        size = tuple(self.size_unit * data.draw(st.integers(1, max(2, 9 // self.size_unit)), side) for side in "hw")
        kind = {"images": images, "classes": classes, "size": size}
        found = self.both(
            outputs(self.student, seed=4, **kind), outputs(self.teacher, seed=6, **kind), num_classes=classes
        )
        assert_close(*found, tolerance=1e-9)

    @pytest.mark.parametrize("where", DISTANCES)
    def test_float32_is_as_near_to_float64_as_rounding_lets_the_reference_be(self, where: float | str) -> None:
        """From a student that is its teacher to one far off; see `allowed`."""
        student, teacher, changes = self.pair(where)
        exact, *draws = self.rounded(student, teacher, FLOAT32, **changes)
        assert_allowed(self.found("tuned", student, teacher, double=False, **changes), exact, draws, FLOAT32, student)

    def test_float64_of_a_student_that_is_its_teacher_differs_by_rounding_only(self) -> None:
        """So that a loss that is zero there is zero but for rounding, and so is its gradient."""
        student, teacher, changes = self.pair(0.0)
        exact, *draws = self.rounded(student, teacher, NEAR_FLOAT64, **changes)
        assert_allowed(self.found("tuned", student, teacher, **changes), exact, draws, NEAR_FLOAT64, student)

    def test_float32_values_near_the_teacher_are_of_second_order(self) -> None:
        """Nothing of first order may cancel in a term that is zero where both networks are equal, as rounding then stays.

        Such a term v is half a squared norm of what sets them apart. Rounding the inputs moves that by a norm sqrt(2 w),
        w the value of two equal networks of which one is rounded; intermediate results are rounded as well, and `SLACK`
        times that norm allows for them: v errs by 2 SLACK sqrt(v w) + SLACK^2 w. Where v is not zero, this asks nothing.
        """
        kind = {"student": self.teacher, "gradients": False}
        _, teacher = near(self.teacher, self.size, 0.0)
        rounding = [Rounding(FLOAT32, seed) for seed in range(DRAWS)]
        equals = [{name: draw.rounded(leaf.detach().double()) for name, leaf in teacher.items()} for draw in rounding]
        least = [self.found("reference", equal, teacher, **kind) for equal in equals]
        for where in (1e-4, 1e-2):
            student, _ = near(self.teacher, self.size, where)
            exact = self.found("reference", student, teacher, **kind)
            tuned = self.found("tuned", student, teacher, double=False, **kind)
            for term in (name for name in exact if name.startswith("term")):
                value, found = abs(float(exact[term])), float(tuned[term])
                rounded = max(abs(float(draw[term])) for draw in least)
                limit = 2 * SLACK * (value * rounded) ** 0.5 + SLACK**2 * rounded + SLACK * FLOAT32 * value
                assert abs(found - float(exact[term])) <= limit, (term, where, found, float(exact[term]), limit)

    def pair(self, where: float | str) -> tuple[Inputs, Inputs, dict[str, Any]]:
        """Outputs of student and teacher, and what to build the method with."""
        if isinstance(where, float):
            return (*near(self.teacher, self.size, where), {"student": self.teacher})
        scale = 50.0 if where == "extreme" else 1.0
        student, teacher = (
            outputs(spec, seed=seed, scale=scale, size=self.size)
            for spec, seed in ((self.student, 2), (self.teacher, 3))
        )
        return student, teacher, {}

    def rounded(self, ours: Inputs, theirs: Inputs, unit: float, **changes: Any) -> list[Found]:
        """What reference finds in float64, and what it finds with operations that round to `unit`, `DRAWS` times."""
        arithmetics = [None, *(Rounding(unit, seed) for seed in range(DRAWS))]
        return [self.found("reference", ours, theirs, rounding=rounding, **changes) for rounding in arithmetics]

    def test_bfloat16_agrees_within_its_precision(self) -> None:
        student, teacher = outputs(self.student, seed=2, size=self.size), outputs(self.teacher, seed=3, size=self.size)
        with torch.autocast("cpu", torch.bfloat16):
            reference, tuned = self.both(student, teacher, double=False)
        for name, value in reference.items():
            if name.startswith("term"):
                torch.testing.assert_close(tuned[name], value, rtol=0.02, atol=1e-6, msg=name)

    def test_tuned_never_waits_for_the_device_nor_loops_over_classes_or_images(self) -> None:
        if "tuned" not in card(self.name).implementations:
            pytest.skip(f"{self.name} has one implementation")
        counts = []
        for images, classes in ((2, CLASSES), (4, 2 * CLASSES)):
            method = self.make(implementation="tuned", num_classes=classes)
            kind = {"images": images, "classes": classes, "size": self.size}
            student, teacher = outputs(self.student, **kind), outputs(self.teacher, seed=1, **kind)
            batch = labels(images, classes=classes, size=self.size)
            with Operations() as seen:
                terms = method(as_output(student), as_output(teacher), batch)
                torch.stack(list(terms.values())).sum().backward()
                method.adversary_step(as_output(student), as_output(teacher), batch, lr_factor=1.0)
            assert not seen.waits
            counts.append(seen.count)
        assert counts[0] == counts[1], counts[1] - counts[0]


class Operations(TorchDispatchMode):
    """Counts the tensor operations that run, and notes those that make the host wait for an accelerator."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()
        self.waits: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().removeprefix("aten::")
        self.count[name] += 1
        by_mask = name.startswith(("index.", "index_put")) and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        if by_mask or name.startswith(HIDDEN_WAITS):
            self.waits.append(name)
        return func(*args, **(kwargs or {}))


def everything(
    method: Method,
    student: Inputs,
    teacher: Inputs,
    *,
    double: bool,
    rounding: Rounding | None = None,
    gradients: bool = True,
) -> Found:
    """Terms, each term's gradients if wanted, and the buffers afterwards; with `rounding`, all of it as that rounds."""
    leaves = {
        name: (leaf.detach().double() if double else leaf.detach().clone()).requires_grad_()
        for name, leaf in student.items()
    }
    theirs = {name: leaf.detach().double() if double else leaf.detach() for name, leaf in teacher.items()}
    logits = student["logits"]
    batch = labels(len(logits), classes=method.num_classes, size=(logits.shape[-2], logits.shape[-1]))
    found = {}
    targets = leaves | {name: parameter for name, parameter in method.named_parameters() if parameter.requires_grad}
    with rounding or nullcontext():
        terms = method(as_output(leaves), as_output(theirs), batch)
        for term, value in terms.items():
            found[f"term {term}"] = value.detach()
            if not gradients:
                continue
            slopes = torch.autograd.grad(value, list(targets.values()), allow_unused=True, retain_graph=True)
            for name, gradient in zip(targets, slopes, strict=True):
                found[f"grad {term} {name}"] = torch.zeros(()) if gradient is None else gradient
    for name, buffer in method.named_buffers():
        found[f"buffer {name}"] = buffer.detach().clone()
    return found


def near(spec: ChannelSpec, size: tuple[int, int], distance: float) -> tuple[Inputs, Inputs]:
    """A student whose outputs are its teacher's, of deviation 1, and noise of deviation `distance`."""
    teacher, noise = outputs(spec, seed=3, size=size), outputs(spec, seed=2, size=size)
    student = {name: (leaf + distance * noise[name]).detach().requires_grad_() for name, leaf in teacher.items()}
    return student, teacher


def allowed(name: str, exact: Tensor, draws: list[Tensor], unit: float, positions: int) -> float:
    """How far off (L2 norm) an implementation of a term, gradient or buffer may be that rounds to `unit`.

    `SLACK` times the error of reference that rounding leads one to expect: the largest among `draws`, of reference
    run in float64 with every operation rounded at random (`Rounding`), and the rounding of the result itself. This is
    the condition of the inputs and of all intermediate results at once, at that distance, and the same on all machines.

    The gradient of a parameter is a sum over all n positions, of which `Rounding` rounds each summand once. A machine
    may add them in any order: one after the other, partial sums of random signs round to sqrt(n / 2) times as much.
    """
    expected = max(float((draw - exact).norm()) for draw in draws) + unit * float(exact.norm())
    of_parameter = name.startswith("grad") and name.split()[-1] not in OUTPUTS
    return SLACK * expected * (max(1.0, positions / 2) ** 0.5 if of_parameter else 1.0)


def assert_allowed(found: Found, exact: Found, draws: list[Found], unit: float, inputs: Inputs) -> None:
    positions = inputs["logits"][:, 0].numel()
    for name, value in exact.items():
        if not value.is_floating_point():
            assert torch.equal(found[name], value), name
            continue
        off = float((found[name].double() - value).norm())
        limit = allowed(name, value, [draw[name] for draw in draws], unit, positions)
        assert off <= limit, (name, off, limit, float(value.norm()))


def assert_close(reference: Found, tuned: Found, *, tolerance: float) -> None:
    assert reference.keys() == tuned.keys()
    for name, value in reference.items():
        assert value.isfinite().all(), f"reference: {name}"
        assert tuned[name].isfinite().all(), f"tuned: {name}"
        if not value.is_floating_point():
            assert torch.equal(tuned[name], value), name
            continue
        largest = max([float(other.double().norm()) for key, other in reference.items() if key[:4] == name[:4]])
        off = float((tuned[name].double() - value.double()).norm())
        # The second bound is for gradients that are zero but for rounding (a shift that softmax does not feel).
        assert off <= max(tolerance * float(value.norm()), 1e-13 * largest, 1e-14), (name, off, float(value.norm()))
