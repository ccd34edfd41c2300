"""Checks of a method's own training: the adversary's step, and the pre-training. A method without them passes."""

from __future__ import annotations

import copy

import torch

from isoclock.methods.testing.inputs import as_output
from isoclock.methods.testing.subject import Subject


def check_adversary_is_trained_alone(subject: Subject) -> None:
    """A step of the adversary changes its parameters and gives no gradient to student, teacher or adapters."""
    method = subject.make()
    if method.adversary is None:
        return
    own = {id(parameter) for parameter in method.adversary.parameters()}
    assert not own & {id(parameter) for parameter in method.adapters()}, "adapters() has parameters of the adversary"
    before = copy.deepcopy(method.adversary.state_dict())
    student, teacher = subject.student_outputs(), subject.teacher_outputs()
    losses = method.adversary_step(as_output(student), as_output(teacher), subject.labels(), lr_factor=1.0)
    assert losses, "adversary_step returns no loss"
    for name, loss in losses.items():
        assert not loss.requires_grad, f"the adversary's loss {name} is not detached"
        assert loss.isfinite(), f"the adversary's loss {name} is {loss.item()}"
    after = method.adversary.state_dict()
    assert any(not torch.equal(value, before[name]) for name, value in after.items()), "the adversary does not change"
    leaves = (*student.values(), *teacher.values(), *method.adapters())
    assert all(leaf.grad is None for leaf in leaves), "the adversary's step leaves gradients outside the adversary"


def check_pretraining_is_finished_before_training(subject: Subject) -> None:
    """Pre-training changes `pretrained` and no adapter; calls afterwards do not change `pretrained`."""
    method = subject.make()
    if not method.pretrain_iterations:
        return
    assert method.pretrained is not None, "there are pre-training iterations, but `pretrained` is not set"
    before, adapters = copy.deepcopy(method.pretrained.state_dict()), copy.deepcopy(method.adapters())
    for _ in range(2):
        losses = method.pretrain_step(as_output(subject.teacher_outputs()), subject.labels(), lr_factor=1.0)
        for name, loss in losses.items():
            assert not loss.requires_grad, f"the pre-training loss {name} is not detached"
            assert loss.isfinite(), f"the pre-training loss {name} is {loss.item()}"
    after = copy.deepcopy(method.pretrained.state_dict())
    assert any(not torch.equal(value, before[name]) for name, value in after.items()), "`pretrained` does not change"
    pairs = zip(adapters, method.adapters(), strict=True)
    assert all(torch.equal(old, new) for old, new in pairs), "pre-training changes an adapter"
    torch.stack(list(subject.call(method).values())).sum().backward()
    kept = method.pretrained.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in kept.items()), "a call changes `pretrained`"


CHECKS = (check_adversary_is_trained_alone, check_pretraining_is_finished_before_training)
