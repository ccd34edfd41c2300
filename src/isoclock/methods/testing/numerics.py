"""Checks of one implementation: dtypes, large values, gradients, and batches without labels."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from isoclock.labels import IGNORE
from isoclock.methods.contract import Batch, Method
from isoclock.methods.testing.inputs import STRIDE, as_output
from isoclock.methods.testing.subject import Subject

GRADIENT_STEP, GRADIENT_TOLERANCE = 1e-6, 1e-4


def check_autocast(subject: Subject) -> None:
    """Under autocast to bfloat16 the terms are float32 and near those without autocast."""
    plain, cast = subject.make(), subject.make()
    with torch.autocast(torch.device(subject.device).type, torch.bfloat16):
        terms = subject.call(cast)
    for term, value in subject.call(plain).items():
        assert terms[term].dtype == torch.float32, f"{term} is {terms[term].dtype} under autocast"
        found, expected = terms[term].item(), value.item()
        assert abs(found - expected) <= 1e-6 + 0.05 * abs(expected), (
            f"{term} is {found} under autocast, {expected} without"
        )


def check_bfloat16_outputs(subject: Subject) -> None:
    """bfloat16 outputs, as autocast makes them, give finite float32 terms."""
    student = {name: leaf.detach().bfloat16() for name, leaf in subject.student_outputs().items()}
    teacher = {name: leaf.detach().bfloat16() for name, leaf in subject.teacher_outputs().items()}
    with torch.autocast(torch.device(subject.device).type, torch.bfloat16):
        terms = subject.make()(as_output(student), as_output(teacher), subject.labels())
    for term, value in terms.items():
        assert value.dtype == torch.float32, f"{term} is {value.dtype} for bfloat16 outputs"
        assert value.isfinite(), f"{term} is {value.item()} for bfloat16 outputs"


def check_float64(subject: Subject) -> None:
    """float64 outputs give float64 terms, near those of float32."""
    single = subject.call(subject.make())
    method = subject.make().double()
    student = {name: leaf.detach().double() for name, leaf in subject.student_outputs().items()}
    teacher = {name: leaf.detach().double() for name, leaf in subject.teacher_outputs().items()}
    for term, value in method(as_output(student), as_output(teacher), subject.labels()).items():
        assert value.dtype == torch.float64, f"{term} is {value.dtype} for float64 outputs"
        found, expected = value.item(), single[term].item()
        assert abs(found - expected) <= max(1e-7, 1e-4 * abs(expected)), (
            f"{term}: {found} in float64, {expected} in float32"
        )


def check_large_outputs(subject: Subject) -> None:
    """Outputs 50 times larger give finite terms and gradients."""
    student, teacher = subject.student_outputs(scale=50.0), subject.teacher_outputs(scale=50.0)
    _check_finite(subject.make(), student, teacher, subject.labels(), "outputs 50 times larger")


def check_no_label(subject: Subject) -> None:
    """A batch without a single label gives finite terms and gradients."""
    shape = (3, STRIDE * subject.size[0], STRIDE * subject.size[1])
    nothing = Batch(torch.full(shape, IGNORE, dtype=torch.uint8), torch.arange(3), torch.zeros(3, dtype=torch.bool))
    _check_finite(subject.make(), subject.student_outputs(), subject.teacher_outputs(), nothing, "no label")


def _check_finite(
    method: Method, student: dict[str, Tensor], teacher: dict[str, Tensor], batch: Batch, when: str
) -> None:
    for term, value in method(as_output(student), as_output(teacher), batch).items():
        assert value.isfinite(), f"{term} is {value.item()} with {when}"
        value.backward(retain_graph=True)
    for name, leaf in student.items():
        assert leaf.grad is None or leaf.grad.isfinite().all(), f"the gradient of {name} is not finite with {when}"


def check_unlabelled_image_is_left_out(subject: Subject) -> None:
    """A term that depends on labels has no gradient in an unlabelled image."""
    batch = subject.labels()
    other = batch.target.clone()
    other[batch.labelled] = other[batch.labelled].roll((5, 7), (1, 2))
    moved = _terms_and_gradients(subject, Batch(other, batch.index, batch.labelled))
    for term, (value, gradients) in _terms_and_gradients(subject, batch).items():
        reads_labels = value != moved[term][0]
        assert not (reads_labels and gradients[~batch.labelled].any()), (
            f"{term} depends on labels and has a gradient in an unlabelled image"
        )


def _terms_and_gradients(subject: Subject, batch: Batch) -> dict[str, tuple[float, Tensor]]:
    """Each term and the size of its gradient in each image (B,), of a new method's second call."""
    student, teacher, method = subject.student_outputs(), as_output(subject.teacher_outputs()), subject.make()
    for module in method.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()  # batch statistics would connect the images
    method(as_output(student), teacher, batch)  # fills memory banks
    found = {}
    for term, value in method(as_output(student), teacher, batch).items():
        gradients = torch.autograd.grad(value, list(student.values()), allow_unused=True, retain_graph=True)
        sizes = (gradient.abs().flatten(1).sum(1) for gradient in gradients if gradient is not None)
        found[term] = value.item(), sum(sizes, torch.zeros(len(batch.index)))
    return found


def check_gradient_is_the_derivative(subject: Subject) -> None:
    """In float64, gradients agree with differences of values along a random direction, for each output and the adapters."""
    if not subject.exact_gradient:
        return
    method = subject.make().double()
    student = {name: leaf.detach().double().requires_grad_() for name, leaf in subject.student_outputs().items()}
    teacher = as_output({name: leaf.detach().double() for name, leaf in subject.teacher_outputs().items()})
    batch = subject.labels()
    method(as_output(student), teacher, batch)  # fills memory banks
    drawn = method.draw(as_output(student), batch)
    copied = copy.deepcopy(method)
    terms = copied(as_output(student), teacher, batch, draw=drawn)
    targets = {name: [student[name]] for name in sorted(method.student_needs)} | {"adapters": copied.adapters()}
    for name, leaves in targets.items():
        generator = torch.Generator().manual_seed(0)
        directions = [torch.randn(leaf.shape, generator=generator, dtype=torch.float64) for leaf in leaves]
        moved = []
        for step in (GRADIENT_STEP, -GRADIENT_STEP):
            other, inputs = copy.deepcopy(method), dict(student)
            if name in student:
                inputs[name] = student[name].detach() + step * directions[0]
            else:
                with torch.no_grad():
                    for parameter, direction in zip(other.adapters(), directions, strict=True):
                        parameter.add_(direction, alpha=step)
            moved.append(other(as_output(inputs), teacher, batch, draw=drawn))
        for term, value in terms.items():
            gradients = torch.autograd.grad(value, leaves, allow_unused=True, retain_graph=True) if leaves else ()
            pairs = zip(gradients, directions, strict=True)
            slope = sum(float((gradient * direction).sum()) for gradient, direction in pairs if gradient is not None)
            difference = float((moved[0][term] - moved[1][term]).detach()) / (2 * GRADIENT_STEP)
            limit = GRADIENT_TOLERANCE * max(abs(slope), abs(difference)) + 1e-8 * max(1.0, abs(float(value.detach())))
            assert abs(slope - difference) <= limit, (
                f"the gradient of {term} for {name} gives the slope {slope:.6g}, differences of values {difference:.6g}"
            )


CHECKS = (
    check_autocast,
    check_bfloat16_outputs,
    check_float64,
    check_large_outputs,
    check_no_label,
    check_unlabelled_image_is_left_out,
    check_gradient_is_the_derivative,
)
