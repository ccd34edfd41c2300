"""Several methods as one: the same terms, needs and gradients as one after the other."""

from __future__ import annotations

import pytest
import torch

from isoclock.errors import ParamsError
from isoclock.methods import Method, build_method
from isoclock.methods.bundle import Bundle
from isoclock.methods.testing import CLASSES, STUDENT, TEACHER, as_output, labels, outputs
from isoclock.runner.device import choose_device


def part(name: str, *terms: str, seed: int = 3) -> Method:
    torch.manual_seed(seed)
    method = build_method(
        name, student=STUDENT, teacher=TEACHER, num_classes=CLASSES, dataset_size=10, active_terms=set(terms)
    )
    method.seed(seed)
    return method.to(choose_device())


def test_terms_and_needs_are_those_of_the_parts() -> None:
    bundle = Bundle([part("fitnet", "fitnet"), part("kd", "kd")])
    assert bundle.student_needs == bundle.teacher_needs == {"head", "logits"}
    student, teacher = as_output(outputs(STUDENT)), as_output(outputs(TEACHER, seed=1))
    found = bundle(student, teacher, labels())
    assert set(found) == {"fitnet", "kd"}
    for name in found:
        assert torch.equal(found[name], part(name, name)(student, teacher, labels())[name])


def test_adapters_are_those_of_the_parts() -> None:
    parts = [part("fitnet", "fitnet"), part("mgd", "mgd"), part("kd", "kd")]
    bundle = Bundle(parts)
    assert len(bundle.adapters()) == len(list(parts[0].parameters())) + len(list(parts[1].parameters()))
    assert not bundle.has_adversary
    assert not bundle.pretrain_iterations


def test_two_pre_trainings_are_refused() -> None:
    with pytest.raises(ParamsError, match="maskd has a pre-training too"):
        Bundle([part("maskd", "maskd"), part("maskd", "maskd")])


def test_every_part_draws_for_itself() -> None:
    bundle = Bundle([part("mgd", "mgd"), part("mgd", "mgd")])
    bundle.seed(1)
    first, second = bundle.methods
    student = as_output(outputs(STUDENT))
    assert not torch.equal(
        first.draw(student, labels())["mask_uniform"], second.draw(student, labels())["mask_uniform"]
    )
