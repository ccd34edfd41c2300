"""Every method takes a teacher of another stride: its terms are those of the resampled maps."""

from __future__ import annotations

import pytest
import torch

from isoclock.methods import build_method, cards
from isoclock.methods.resampling import on_grid_of
from isoclock.methods.testing.inputs import CLASSES, HEIGHT, STUDENT, TEACHER, WIDTH, as_output, labels, outputs
from isoclock.runner.device import choose_device

METHODS = [name for name, card in cards().items() if card.terms]
FINER, COARSER = (2 * HEIGHT, 2 * WIDTH), (HEIGHT // 2, WIDTH // 2)


@pytest.mark.parametrize("name", METHODS)
def test_terms_are_those_of_the_resampled_teacher(name: str) -> None:
    student, batch = as_output(outputs(STUDENT)), labels()
    for size in (FINER, COARSER):
        theirs = as_output(outputs(TEACHER, seed=1, size=size))
        found = []
        for given in (theirs, on_grid_of(student, theirs)):
            torch.manual_seed(0)
            method = build_method(name, student=STUDENT, teacher=TEACHER, num_classes=CLASSES, dataset_size=10)
            method.seed(0)
            found.append(method.to(choose_device())(student, given, batch))
        assert found[0].keys() == set(method.terms)
        assert all(torch.equal(value, found[1][term]) for term, value in found[0].items())
