"""What an implementation computes from given inputs, and how far two of them may differ."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from isoclock.methods.contract import Method
from isoclock.methods.testing.inputs import as_output, labels, outputs
from isoclock.methods.testing.rounding import Rounding
from isoclock.methods.testing.subject import Subject
from isoclock.models.outputs import OUTPUTS, ChannelSpec

Inputs = Mapping[str, Tensor]
Found = dict[str, Tensor]
"""Terms, gradients and buffers, by names such as "term kd", "grad kd logits" and "buffer queue"."""

SLACK = 8
"""Factor on the expected rounding error: it is estimated from `DRAWS` random draws only, and a single number may be lucky."""
DRAWS = 3


def found_by(
    subject: Subject,
    implementation: str,
    ours: Inputs,
    theirs: Inputs,
    *,
    double: bool = True,
    rounding: Rounding | None = None,
    **changes: Any,
) -> Found:
    """Terms, their gradients, and the buffers after the call; with `rounding`, all computed with its errors."""
    method = subject.make(seed=5, implementation=implementation, **changes)
    return everything(method.double() if double else method, ours, theirs, double=double, rounding=rounding)


def found_by_both(
    subject: Subject, ours: Inputs, theirs: Inputs, *, double: bool = True, **changes: Any
) -> list[Found]:
    """`found_by` of reference and tuned, with the same inputs, parameters, draws and banks."""
    return [found_by(subject, name, ours, theirs, double=double, **changes) for name in ("reference", "tuned")]


def everything(
    method: Method,
    student: Inputs,
    teacher: Inputs,
    *,
    double: bool,
    rounding: Rounding | None = None,
) -> Found:
    """Terms, their gradients, and the buffers after a call of `method`."""
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
            slopes = torch.autograd.grad(value, list(targets.values()), allow_unused=True, retain_graph=True)
            for name, gradient in zip(targets, slopes, strict=True):
                found[f"grad {term} {name}"] = torch.zeros(()) if gradient is None else gradient
    for name, buffer in method.named_buffers():
        found[f"buffer {name}"] = buffer.detach().clone()
    return found


def near(spec: ChannelSpec, size: tuple[int, int], distance: float) -> tuple[Inputs, Inputs]:
    """Outputs of a student that are its teacher's, of deviation 1, plus noise of deviation `distance`."""
    teacher, noise = outputs(spec, seed=3, size=size), outputs(spec, seed=2, size=size)
    student = {name: (leaf + distance * noise[name]).detach().requires_grad_() for name, leaf in teacher.items()}
    return student, teacher


def allowed(name: str, exact: Tensor, draws: list[Tensor], unit: float, positions: int) -> float:
    """How far (L2 norm) a term, gradient or buffer may be from `exact` in an implementation that rounds to `unit`.

    `SLACK` times the error that rounding is expected to cause in reference: the largest among `draws`, computed by
    reference in float64 with every operation rounded at random (`Rounding`), plus the rounding of the result itself. This
    covers the condition of the inputs and of all intermediate results, and is the same on all machines.

    The gradient of a parameter is a sum over all n positions, and `Rounding` rounds each summand once. A machine may add
    them in any order: added one after the other, partial sums of random signs round to sqrt(n / 2) times as much.
    """
    expected = max(float((draw - exact).norm()) for draw in draws) + unit * float(exact.norm())
    of_parameter = name.startswith("grad") and name.split()[-1] not in OUTPUTS
    return SLACK * expected * (max(1.0, positions / 2) ** 0.5 if of_parameter else 1.0)


def assert_allowed(
    found: Found, exact: Found, draws: list[Found], unit: float, inputs: Inputs, reference: Found | None = None
) -> None:
    """Every value of `found` is as near to `exact` as `allowed` says, or as that of `reference` with the same rounding."""
    positions = inputs["logits"][:, 0].numel()
    for name, value in exact.items():
        if not value.is_floating_point():
            assert torch.equal(found[name], value), f"{name} of tuned and reference differ"
            continue
        off = float((found[name].double() - value).norm())
        limit = allowed(name, value, [draw[name] for draw in draws], unit, positions)
        if reference is not None:
            limit = max(limit, float((reference[name].double() - value).norm()))
        assert off <= limit, (
            f"{name} of tuned is {off:.3g} off, rounding explains {limit:.3g} (norm {value.norm():.3g})"
        )


def assert_close(reference: Found, tuned: Found, *, tolerance: float) -> None:
    """Every value of `tuned` is that of `reference`, to the relative `tolerance` in the L2 norm."""
    assert reference.keys() == tuned.keys(), f"found {sorted(tuned)} instead of {sorted(reference)}"
    for name, value in reference.items():
        assert value.isfinite().all(), f"{name} of reference is not finite"
        assert tuned[name].isfinite().all(), f"{name} of tuned is not finite"
        if not value.is_floating_point():
            assert torch.equal(tuned[name], value), f"{name} of tuned and reference differ"
            continue
        largest = max([float(other.double().norm()) for key, other in reference.items() if key[:4] == name[:4]])
        off = float((tuned[name].double() - value.double()).norm())
        # The second bound is for gradients that are zero but for rounding (a shift that softmax does not see).
        limit = max(tolerance * float(value.norm()), 1e-13 * largest, 1e-14)
        assert off <= limit, f"{name} of tuned is {off:.3g} off, allowed is {limit:.3g} (norm {value.norm():.3g})"
