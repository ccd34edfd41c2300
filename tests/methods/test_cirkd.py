import math

import pytest
import torch
from torch import Tensor

from isoclock.methods import Batch, ChannelSpec, Method, build_method
from isoclock.methods.card import IMPLEMENTATIONS
from isoclock.methods.testing import CLASSES, STRIDE, MethodContract, as_output, labels, outputs
from isoclock.models import SegmenterOutput
from isoclock.runner.device import choose_device

BANKS = {"pixel_memory_size": 40, "region_memory_size": 6, "pixel_contrast_size": 12, "region_contrast_size": 4}


class TestCIRKD(MethodContract):
    name = "cirkd"
    params = BANKS

    def test_rings_move_in_training_only(self) -> None:
        method = self.make().eval()
        before = rings(method)
        self.call(method)
        assert all(torch.equal(ring, before[name]) for name, ring in rings(method).items())
        self.call(method.train())
        assert not any(torch.equal(ring, before[name]) for name, ring in rings(method).items())

    def test_a_term_of_no_weight_has_no_ring(self) -> None:
        assert not list(self.make(active_terms={"minibatch"}).buffers())
        assert set(rings(self.make(active_terms={"region_memory"}))) == {"region_queue", "region_ptr"}

    def test_without_labels_memory_terms_are_zero_and_rings_stay(self) -> None:
        method = self.make()
        before = rings(method)
        nothing = Batch(torch.full((3, 64, 128), 255), torch.arange(3), torch.zeros(3, dtype=torch.bool))
        student = self.student_outputs()
        terms = method(as_output(student), as_output(self.teacher_outputs()), nothing)
        assert terms["pixel_memory"] == terms["region_memory"] == 0
        assert terms["minibatch"] > 0
        (terms["pixel_memory"] + terms["region_memory"]).backward()
        assert not student[method.settings["tap"]].grad.any()
        assert all(torch.equal(ring, before[name]) for name, ring in rings(method).items())

    def test_ignored_pixels_count_in_the_minibatch_term_only(self) -> None:
        batch, student, teacher = self.labels(), self.student_outputs(), self.teacher_outputs()
        without_statistics = self.make().eval()  # batch norm looks at all pixels
        first = without_statistics(as_output(student), as_output(teacher), batch)
        ignored = batch.target[:, None, ::STRIDE, ::STRIDE] == 255
        other = {name: torch.where(ignored, -leaf, leaf) for name, leaf in student.items()}
        without_statistics.seed(0)
        second = without_statistics(as_output(other), as_output(teacher), batch)
        assert first["minibatch"] != second["minibatch"]
        for term in ("pixel_memory", "region_memory"):
            torch.testing.assert_close(first[term], second[term], rtol=1e-6, atol=0)


class TestCIRKDPooledAtTheBackboneWithThePublishedSampling(TestCIRKD):
    params = BANKS | {
        "tap": "backbone",
        "pool": "average",
        "tau": 0.2,
        "kd_temperature": 2.0,
        "pixel_update": 5,
        "published_sampling": True,
    }


def rings(method: Method) -> dict[str, Tensor]:
    return {name: ring.clone() for name, ring in method.named_buffers() if name.startswith(("pixel", "region"))}


def made(implementation: str, classes: int = CLASSES, **params: object) -> Method:
    torch.manual_seed(0)
    spec = ChannelSpec(backbone=3, head=3)
    method = build_method(
        "cirkd",
        student=spec,
        teacher=spec,
        num_classes=classes,
        dataset_size=9,
        implementation=implementation,
        **(BANKS | params),  # type: ignore[arg-type]
    )
    method.seed(0)
    return method.to(choose_device())


def head(*vectors: tuple[float, float, float]) -> SegmenterOutput:
    """One image with these features in a row."""
    return SegmenterOutput(
        None, None, {"head": torch.tensor(vectors, dtype=torch.float32).t()[None, :, None, :].requires_grad_()}
    )


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_two_pixels_by_hand(implementation: str) -> None:
    method = made(implementation, tau=0.5, active_terms={"minibatch"})
    batch = Batch(torch.full((1, 8, 16), 255), torch.arange(1), torch.ones(1, dtype=torch.bool))
    value = method(head((2, 0, 0), (0, 5, 0)), head((1, 0, 0), (7, 0, 0)), batch)["minibatch"]
    p = math.exp(2) / (math.exp(2) + 1)  # the student's own pixel; the teacher sees no difference
    assert value.item() == pytest.approx(0.5 * math.log(0.5 / p) + 0.5 * math.log(0.5 / (1 - p)), rel=1e-5)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_student_like_its_teacher_has_nothing_to_learn_from_pairs_whatever_its_scale(implementation: str) -> None:
    method = made(implementation, active_terms={"minibatch"})
    feature = torch.randn(2, 3, 5, 7)
    ours = (3 * feature).requires_grad_()
    value = method(*(SegmenterOutput(None, None, {"head": f}) for f in (ours, feature)), labels(2, size=(5, 7)))
    value["minibatch"].backward()
    assert abs(value["minibatch"].item()) < 1e-6
    assert ours.grad.abs().max() < 1e-6


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("published", [False, True])
def test_pixels_pushed_are_of_their_class_unless_as_published(implementation: str, published: bool) -> None:
    method = made(implementation, classes=2, published_sampling=published)
    target = torch.zeros(1, 64, 128, dtype=torch.uint8)
    target[:, 32:] = 1  # the lower half
    feature = torch.zeros(1, 3, 8, 16)
    feature[:, 0, :4], feature[:, 1, 4:] = 2.0, 3.0
    there = SegmenterOutput(None, None, {"head": feature})
    method(there, there, Batch(target, torch.arange(1), torch.ones(1, dtype=torch.bool)))
    upper, lower = torch.eye(3)[:2]
    assert torch.equal(method.pixel_queue[0, :16], upper.expand(16, 3))
    assert torch.equal(method.pixel_queue[1, :16], (upper if published else lower).expand(16, 3))
    assert torch.equal(method.region_queue[:, 0], torch.stack([upper, lower]))
    assert method.pixel_ptr.tolist() == [16, 16]
    assert method.region_ptr.tolist() == [1, 1]


def test_keys_are_as_many_as_published() -> None:
    for classes, pixels, regions in ((19, 4104, 1026), (150, 4200, 1050)):
        method = made("tuned", classes=classes, pixel_memory_size=300, region_memory_size=60)
        method.settings |= {"pixel_contrast_size": 0, "region_contrast_size": 0}
        drawn = method.draw(as_output(outputs(ChannelSpec(3, 3))), labels())
        for ring, wanted in (("pixel", pixels), ("region", regions)):
            assert len(method._keys(ring, drawn[f"{ring}_perm"], in_a_loop=False)) == wanted
