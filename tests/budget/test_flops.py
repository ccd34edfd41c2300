"""FLOPs counted from shapes are those that a real training step is measured to do."""

from __future__ import annotations

import pytest
import torch

from isoclock.budget.flops import forward_gflops, method_gflops, scoring_gflops, training_gflops
from isoclock.budget.profile import profile_method
from isoclock.params.schema import Scoring
from tiny_study import TinyStudy

pytestmark = pytest.mark.filterwarnings("ignore:.*random weights")
CLASSES = 19


@pytest.mark.parametrize("name", ["none", "kd", "fitnet", "cwd", "mgd"])
def test_as_many_as_a_profile_counts(prepared_study: TinyStudy, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isoclock.budget.profile.choose_device", lambda: torch.device("cpu"))
    params = prepared_study.params
    measured = profile_method(params, "streets", "tiny", name, prepared_study.layout).gflops.total
    recipe, parts = params.recipe("streets", "student"), params.method_parts(name, "streets")
    found = method_gflops(recipe, params.model("tiny"), params.model("small"), parts, CLASSES)
    assert found.whole
    assert found.step == pytest.approx(measured, rel=1e-9)
    if name == "none":
        assert found.step == training_gflops(recipe, params.model("tiny"), CLASSES)


def test_a_method_costs_more_than_none_and_a_pre_training_comes_before(empty_study: TinyStudy) -> None:
    empty_study.edit("methods.yaml", "kd:\n  method: kd\n", "kd:\n  method: maskd\n")
    empty_study.edit("methods.yaml", "{temperature: 1.0}", "{pretrain_iterations: 50}")
    empty_study.edit("methods.yaml", "{kd: 1.0}", "{maskd: 1.0, maskd_aux: 0.0}")
    params = empty_study.params
    recipe, student, teacher = params.recipe("streets", "student"), params.model("tiny"), params.model("small")
    found = method_gflops(recipe, student, teacher, params.method_parts("kd", "streets"), CLASSES)
    assert found.step > training_gflops(recipe, student, CLASSES)
    assert found.pretraining > 0


def test_an_image_that_no_stride_fits_counts_as_the_next_larger(empty_study: TinyStudy) -> None:
    model = empty_study.params.model("tiny")
    assert forward_gflops(model, CLASSES, (60, 121)) == forward_gflops(model, CLASSES, (64, 128))
    assert forward_gflops(model, CLASSES, (128, 256)) > 3 * forward_gflops(model, CLASSES, (64, 128))


def test_a_score_costs_as_many_looks_as_it_takes(empty_study: TinyStudy) -> None:
    model = empty_study.params.model("tiny")

    def cost(**scoring: object) -> float:
        return scoring_gflops(model, CLASSES, (64, 128), Scoring.model_validate(scoring))

    once = forward_gflops(model, CLASSES, (64, 128))
    assert cost() == once
    assert cost(flip=True) == 2 * once
    assert cost(scales=[1.0, 2.0]) == once + forward_gflops(model, CLASSES, (128, 256))
    assert cost(window=(64, 64), stride=(64, 32)) == 3 * forward_gflops(model, CLASSES, (64, 64))
    assert cost(short_side=128) == forward_gflops(model, CLASSES, (128, 256))
