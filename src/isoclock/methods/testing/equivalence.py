"""Checks of `tuned` against `reference`: the same numbers, and never a wait for the device."""

from __future__ import annotations

from functools import partial
from random import Random
from typing import Any

import torch

from isoclock.methods.testing.comparing import (
    DRAWS,
    Found,
    Inputs,
    assert_allowed,
    assert_close,
    found_by,
    found_by_both,
    near,
)
from isoclock.methods.testing.inputs import CLASSES, as_output, labels, outputs
from isoclock.methods.testing.operations import Operations
from isoclock.methods.testing.rounding import FLOAT32, NEAR_FLOAT64, Rounding
from isoclock.methods.testing.subject import Check, Subject

DISTANCES = (0.0, 1e-6, 1e-4, 1e-2, 1.0, "far", "extreme")
"""Of a student's outputs from its teacher's of deviation 1. "far": another network, "extreme": one of 50 times the deviation."""


def check_float64_agrees(subject: Subject, *, scale: float) -> None:
    """In float64 both find the same, to rounding."""
    student = outputs(subject.student, seed=2, scale=scale, size=subject.size)
    teacher = outputs(subject.teacher, seed=3, scale=scale, size=subject.size)
    assert_close(*found_by_both(subject, student, teacher), tolerance=1e-10)


def check_float64_agrees_near_the_teacher(subject: Subject) -> None:
    """In float64 both find the same for a student that has nearly converged."""
    student, teacher = near(subject.teacher, subject.size, 0.01)
    assert_close(*found_by_both(subject, student, teacher, student=subject.teacher), tolerance=1e-10)


def check_float64_agrees_at_any_size(subject: Subject) -> None:
    """In float64 both find the same for batches, classes and sizes from the smallest on."""
    unit, least, random = subject.size_unit, subject.least_images, Random(0)
    most = unit * max(2, 9 // unit)
    cases = [(least, 2, unit, unit), (least + 2, 7, most, unit), (least, 2, unit, most), (least + 1, 3, most, most)]
    for _ in range(4):
        height, width = (unit * random.randint(1, most // unit) for _ in range(2))
        cases.append((random.randint(least, least + 2), random.randint(2, 7), height, width))
    for images, classes, height, width in cases:
        kind: dict[str, Any] = {"images": images, "classes": classes, "size": (height, width)}
        student, teacher = outputs(subject.student, seed=4, **kind), outputs(subject.teacher, seed=6, **kind)
        try:
            assert_close(*found_by_both(subject, student, teacher, num_classes=classes), tolerance=1e-9)
        except AssertionError as error:
            raise AssertionError(f"{images} images, {classes} classes, {height}x{width}: {error}") from error


def check_float32_is_near_float64(subject: Subject, *, distance: float | str) -> None:
    """In float32, tuned is as near to float64 as reference is, or as rounding allows it to be; see `comparing.allowed`."""
    student, teacher, changes = _pair(subject, distance)
    exact, *draws = _rounded(subject, student, teacher, FLOAT32, **changes)
    reference, tuned = found_by_both(subject, student, teacher, double=False, **changes)
    assert_allowed(tuned, exact, draws, FLOAT32, student, reference)


def check_float64_at_the_teacher_differs_by_rounding(subject: Subject) -> None:
    """For a student equal to its teacher, a term (or gradient) that is zero is zero but for rounding."""
    student, teacher, changes = _pair(subject, 0.0)
    exact, *draws = _rounded(subject, student, teacher, NEAR_FLOAT64, **changes)
    assert_allowed(found_by(subject, "tuned", student, teacher, **changes), exact, draws, NEAR_FLOAT64, student)


def check_bfloat16_agrees(subject: Subject) -> None:
    """Under autocast the terms of both agree within bfloat16's precision: 2 %, or twice what it costs reference."""
    student = outputs(subject.student, seed=2, size=subject.size)
    teacher = outputs(subject.teacher, seed=3, size=subject.size)
    with torch.autocast(torch.device(subject.device).type, torch.bfloat16):
        reference, tuned = found_by_both(subject, student, teacher, double=False)
    exact = found_by(subject, "reference", student, teacher)
    for name, value in reference.items():
        if name.startswith("term"):
            off = abs(float(tuned[name] - value))
            limit = 1e-6 + max(0.02 * abs(float(value)), 2 * abs(float(value - exact[name])))
            assert off <= limit, f"{name}: {tuned[name].item()} instead of {value.item()}"


def check_no_wait_and_no_loop(subject: Subject) -> None:
    """`tuned` never waits for the device, and runs as many operations for any number of classes and images.

    Groups of images (`images_per_group`) are computed one after another: here the batch is one group.
    """
    counts = []
    one_group = {"images_per_group": 0} if "images_per_group" in subject.facts().params else {}
    for images, classes in ((2, CLASSES), (4, 2 * CLASSES)):
        method = subject.make(implementation="tuned", num_classes=classes, **one_group)
        kind: dict[str, Any] = {"images": images, "classes": classes, "size": subject.size}
        student, teacher = outputs(subject.student, **kind), outputs(subject.teacher, seed=1, **kind)
        batch = labels(images, classes=classes, size=subject.size)
        with Operations() as seen:
            terms = method(as_output(student), as_output(teacher), batch)
            torch.stack(list(terms.values())).sum().backward()
            method.adversary_step(as_output(student), as_output(teacher), batch, lr_factor=1.0)
        assert not seen.waits, f"the host waits for the device in {', '.join(sorted(set(seen.waits)))}"
        counts.append(seen.count)
    more = counts[1] - counts[0]
    assert counts[0] == counts[1], f"more operations with more images and classes: {dict(more)}"


def _pair(subject: Subject, distance: float | str) -> tuple[Inputs, Inputs, dict[str, Any]]:
    """Outputs of student and teacher, and changes to the method's arguments."""
    if isinstance(distance, float):
        return (*near(subject.teacher, subject.size, distance), {"student": subject.teacher})
    scale = 50.0 if distance == "extreme" else 1.0
    student = outputs(subject.student, seed=2, scale=scale, size=subject.size)
    return student, outputs(subject.teacher, seed=3, scale=scale, size=subject.size), {}


def _rounded(subject: Subject, ours: Inputs, theirs: Inputs, unit: float, **changes: Any) -> list[Found]:
    """What reference finds in float64, and what it finds with operations that round to `unit`, `DRAWS` times."""
    arithmetics = [None, *(Rounding(unit, seed) for seed in range(DRAWS))]
    return [found_by(subject, "reference", ours, theirs, rounding=rounding, **changes) for rounding in arithmetics]


CHECKS: tuple[Check, ...] = (
    *(partial(check_float64_agrees, scale=scale) for scale in (1.0, 50.0)),
    check_float64_agrees_near_the_teacher,
    check_float64_agrees_at_any_size,
    *(partial(check_float32_is_near_float64, distance=distance) for distance in DISTANCES),
    check_float64_at_the_teacher_differs_by_rounding,
    check_bfloat16_agrees,
    check_no_wait_and_no_loop,
)
