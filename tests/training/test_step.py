from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_segmenter import CLASSES, DEVICE, TinySegmenter, batch_at, by_hand_cross_entropy, recipe, training_step
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from isoclock.data.loading.normalise import Normalise
from isoclock.methods import build_method
from isoclock.training.step import TrainingStep, class_weights

KD = {"kd": 1.0}


def test_cross_entropy_is_the_mean_over_labelled_pixels() -> None:
    step, batch = training_step(aux_weight=0.0), batch_at(0)
    torch.manual_seed(3)
    logits = step.student(batch["images"]).logits
    assert logits is not None
    torch.manual_seed(3)  # the same dropout
    losses = step(batch, 0.01)
    assert float(losses.total) == pytest.approx(
        float(by_hand_cross_entropy(logits.detach(), batch["target"])), rel=1e-5
    )


def test_cross_entropy_may_be_a_mean_over_all_pixels_of_labelled_images() -> None:
    batch, half = batch_at(0), dict(batch_at(0))
    half["target"] = half["target"].clone()
    half["target"][:, ::2] = 255

    def value(given: Any, **changes: Any) -> float:
        return float(training_step(aux_weight=0.0, **changes)(given, 0.01).total)

    for given in (batch, half):
        share = float((given["target"] != 255).float().mean())
        assert value(given, cross_entropy_over="all") == pytest.approx(share * value(given), rel=1e-5)
    mixed = value(batch, cross_entropy_over="all", batch=4, unlabelled_per_batch=3)
    assert mixed == pytest.approx(4 * value(batch, cross_entropy_over="all"), rel=1e-5)


def test_what_lies_under_ignored_pixels_does_not_count() -> None:
    first, second = dict(batch_at(0)), dict(batch_at(0))
    first["target"][:, 8:] = 255
    second["target"][:, 8:] = 255
    second["target"][:, 8:, ::2] = 255
    assert torch.equal(training_step()(first, 0.01).total, training_step()(second, 0.01).total)


@pytest.mark.parametrize("channels_last", [False, True])
def test_bytes_become_numbers_on_the_device(channels_last: bool) -> None:
    """And the memory they become numbers in is used again, without harm."""
    colour = [{"transform": "Normalize", "mean": [0.3, 0.4, 0.5], "std": [0.2, 0.3, 0.4]}]
    fed, plain = (training_step(colour=listed, channels_last=channels_last) for listed in (colour, []))
    for number in range(3):
        batch = batch_at(number)
        pixels = torch.randint(0, 256, batch["images"].shape, dtype=torch.uint8).to(memory_format=torch.channels_last)
        numbers = Normalise.last_of(colour)(pixels)
        torch.manual_seed(number)
        found = fed({**batch, "images": pixels, "target": batch["target"].byte()}, 0.1)
        torch.manual_seed(number)
        assert torch.equal(found.total, plain({**batch, "images": numbers}, 0.1).total)


class Copies(TorchDispatchMode):
    """Strides of the tensors that are copied to a GPU, before and after."""

    def __init__(self) -> None:
        super().__init__()
        self.strides: list[tuple[tuple[int, ...], tuple[int, ...]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.aten._to_copy.default and (args[0].device.type, result.device.type) == ("cpu", "cuda"):
            self.strides.append((args[0].stride(), result.stride()))
        return result


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_gpu_gets_the_bytes_as_they_lie(channels_last: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host would reorder them into memory that is not pinned, and wait for the copy."""
    monkeypatch.setattr("isoclock.training.step._place", lambda *_: None)  # parameters without values cannot be moved
    colour = [{"transform": "Normalize"}]
    asked, gpu = recipe(colour=colour, channels_last=channels_last), torch.device("cuda")
    with FakeTensorMode(allow_non_fake_inputs=True), Copies() as copies:
        with gpu:
            student = TinySegmenter()
            none = build_method("none", student=student.channels, teacher=None, num_classes=CLASSES, dataset_size=1)
            step = TrainingStep(student, none, {}, asked, gpu, num_classes=CLASSES)
        copies.strides.clear()
        batch = {
            "images": torch.empty(2, 16, 32, 3, dtype=torch.uint8).permute(0, 3, 1, 2),
            "target": torch.empty(2, 16, 32, dtype=torch.uint8),
            "index": torch.empty(2, dtype=torch.int64),
            "labelled": torch.empty(2, dtype=torch.bool),
        }
        images, samples = step._transfer(batch)
    assert copies.strides[: len(batch)] == [(value.stride(), value.stride()) for value in batch.values()]
    assert (images.dtype, images.device.type) == (torch.float32, "cuda")
    assert images.is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    assert samples.target.dtype == torch.int64


@pytest.mark.parametrize("method", ["none", "kd"])
@pytest.mark.parametrize("kind", [None, "weighted"])
def test_a_batch_without_labels_gives_no_task_loss_and_no_nan(method: str, kind: str | None) -> None:
    batch = dict(batch_at(0))
    batch["target"] = torch.full_like(batch["target"], 255)
    batch["labelled"] = torch.tensor([False, False])
    step = training_step(method, KD if method == "kd" else None)
    if kind:
        step = TrainingStep(
            step.student,
            step.method,
            step.weights,
            step.recipe,
            DEVICE,
            teacher=step.teacher,
            class_weights=torch.full((CLASSES,), 2.0),
            num_classes=CLASSES,
        )
    losses = step(batch, 0.01)
    assert losses.terms["ce"] == 0
    assert losses.terms["aux"] == 0
    assert all(parameter.isfinite().all() for parameter in step.student.parameters())
    assert (losses.total == 0) == (method == "none")


def test_class_weights_weigh_and_normalise_as_torch_does() -> None:
    weights = torch.tensor([0.5, 1.0, 2.0, 4.0])
    batch = batch_at(0)
    plain = training_step(aux_weight=0.0)
    step = TrainingStep(
        plain.student, plain.method, {}, plain.recipe, DEVICE, class_weights=weights, num_classes=CLASSES
    )
    torch.manual_seed(3)
    logits = step.student(batch["images"]).logits
    upsampled = torch.nn.functional.interpolate(logits, (16, 32), mode="bilinear", align_corners=False)
    expected = torch.nn.functional.cross_entropy(upsampled, batch["target"], weight=weights, ignore_index=255)
    torch.manual_seed(3)
    assert float(step(batch, 0.01).total) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_the_total_is_the_weighted_sum_and_terms_are_unweighted() -> None:
    losses = training_step("kd", {"kd": 3.0}, aux_weight=0.25)(batch_at(0), 0.01)
    assert sorted(losses.terms) == ["aux", "ce", "kd"]
    expected = losses.terms["ce"] + 0.25 * losses.terms["aux"] + 3.0 * losses.terms["kd"]
    assert float(losses.total) == pytest.approx(float(expected), rel=1e-6)
    once = training_step("kd", {"kd": 1.0}, aux_weight=0.25)(batch_at(0), 0.01)
    assert torch.equal(once.terms["kd"], losses.terms["kd"])


def test_the_teacher_is_left_alone() -> None:
    step = training_step("kd", KD)
    assert step.teacher is not None
    before = {name: value.clone() for name, value in step.teacher.state_dict().items()}
    for number in range(3):
        step(batch_at(number), 0.1)
    assert not step.teacher.training
    assert all(parameter.grad is None for parameter in step.teacher.parameters())
    after = step.teacher.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items()), "its batch statistics moved"
    ours = {id(parameter) for group in step.optimiser.param_groups for parameter in group["params"]}
    assert not ours & {id(parameter) for parameter in step.teacher.parameters()}


def test_the_teacher_is_asked_for_what_the_method_needs_only() -> None:
    step = training_step("mgd", {"mgd": 1.0})
    step(batch_at(0), 0.01)
    assert isinstance(step.teacher, TinySegmenter)
    assert isinstance(step.student, TinySegmenter)
    assert step.teacher.asked == [frozenset({"backbone"})]
    assert step.student.asked == [frozenset({"logits", "aux_logits", "backbone"})]


def test_no_kd_holds_no_teacher() -> None:
    assert training_step().teacher is None


def test_a_method_that_needs_a_teacher_says_so() -> None:
    student = TinySegmenter()
    kd = build_method("kd", student=student.channels, teacher=student.channels, num_classes=4, dataset_size=1)
    with pytest.raises(ValueError, match=r"logits.* of a teacher"):
        TrainingStep(student, kd, KD, recipe(), DEVICE, num_classes=CLASSES)


def test_without_an_auxiliary_weight_its_head_does_not_run() -> None:
    step = training_step(aux_weight=0.0)
    losses = step(batch_at(0), 0.01)
    assert isinstance(step.student, TinySegmenter)
    assert step.student.asked == [frozenset({"logits"})]
    assert sorted(losses.terms) == ["ce"]
    assert all(parameter.grad is None for parameter in step.student.auxiliary.parameters())


def test_a_term_of_no_weight_is_not_there() -> None:
    step = training_step("mgd", {"cwd_logit": 3.0})
    losses = step(batch_at(0), 0.01)
    assert sorted(losses.terms) == ["aux", "ce", "cwd_logit"]
    assert step.teacher_needs == {"logits"}
    assert list(step.method.parameters()) == []


def test_adapters_are_trained_by_the_students_optimiser() -> None:
    step = training_step("fitnet", {"fitnet": 1.0})
    before = [parameter.detach().clone() for parameter in step.method.parameters()]
    assert before
    step(batch_at(0), 0.1)
    moved = [not torch.equal(old, new) for old, new in zip(before, step.method.parameters(), strict=True)]
    assert all(moved)


def test_the_rate_is_that_of_the_call() -> None:
    step = training_step(weight_decay=0.0)
    before = [parameter.detach().clone() for parameter in step.student.parameters()]
    step(batch_at(0), 0.0)
    assert all(torch.equal(old, new) for old, new in zip(before, step.student.parameters(), strict=True))
    step(batch_at(0), 0.1)
    assert not all(torch.equal(old, new) for old, new in zip(before, step.student.parameters(), strict=True))


def test_phases_end_in_order() -> None:
    seen: list[str] = []
    training_step("kd", KD)(batch_at(0), 0.01, seen.append)
    assert seen == ["transfer", "teacher", "student", "loss", "backward", "optimiser"]


def test_bfloat16_is_near_float32() -> None:
    plain = training_step("kd", KD)(batch_at(0), 0.01)
    short = training_step("kd", KD, precision="bf16", channels_last=True)(batch_at(0), 0.01)
    assert short.total.dtype == torch.float32
    assert float(short.total) == pytest.approx(float(plain.total), rel=0.05)


def test_class_weights_by_hand() -> None:
    # Frequencies 1/16, 4/16, 11/16 and a class that never occurs: the median is that of the three.
    weights = class_weights([100, 400, 1100, 0], "sqrt-median-frequency")
    assert weights is not None
    assert weights.tolist() == pytest.approx([2.0, 1.0, (400 / 1100) ** 0.5, 1.0])
    assert class_weights([1, 2], "none") is None
