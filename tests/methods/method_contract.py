"""What every method has to keep. A method's test is a subclass with its name and params; see test_kd.py."""

from __future__ import annotations

import io
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from isoclock.errors import ParamsError
from isoclock.methods import Batch, ChannelSpec, Method, build_method, card, signature_problems
from isoclock.models import OUTPUTS, SegmenterOutput

STUDENT, TEACHER = ChannelSpec(backbone=12, head=8), ChannelSpec(backbone=20, head=16)
CLASSES, HEIGHT, WIDTH, STRIDE = 5, 8, 16, 8


def outputs(spec: ChannelSpec, *, images: int = 3, seed: int = 0, scale: float = 1.0) -> dict[str, Tensor]:
    """Every output of a made-up network, leaves that want gradients."""
    generator = torch.Generator().manual_seed(seed)
    channels = {"logits": CLASSES, "aux_logits": CLASSES, "backbone": spec.backbone, "head": spec.head}
    return {
        name: (scale * torch.randn(images, count, HEIGHT, WIDTH, generator=generator)).requires_grad_()
        for name, count in channels.items()
    }


def as_output(tensors: dict[str, Tensor]) -> SegmenterOutput:
    features = {name: tensors[name] for name in ("backbone", "head") if name in tensors}
    return SegmenterOutput(tensors.get("logits"), tensors.get("aux_logits"), features)


def labels(images: int = 3) -> Batch:
    """Random labels with an ignored strip; the last image of several is unlabelled."""
    target = torch.randint(
        0, CLASSES, (images, STRIDE * HEIGHT, STRIDE * WIDTH), generator=torch.Generator().manual_seed(9)
    )
    target[:, : 2 * STRIDE] = 255
    labelled = torch.ones(images, dtype=torch.bool)
    if images > 1:
        labelled[-1] = False
        target[-1] = 255
    return Batch(target=target.to(torch.uint8), index=torch.arange(images), labelled=labelled)


class MethodContract:
    """Subclass it, name the method, and say which params to build it with."""

    name: ClassVar[str]
    params: ClassVar[dict[str, Any]] = {}
    student: ClassVar[ChannelSpec] = STUDENT
    teacher: ClassVar[ChannelSpec] = TEACHER

    def make(self, seed: int = 0, **changes: Any) -> Method:
        torch.manual_seed(seed)
        method = build_method(
            self.name,
            **{
                "student": self.student,
                "teacher": self.teacher,
                "num_classes": CLASSES,
                "dataset_size": 10,
                **self.params,
                **changes,
            },
        )
        method.seed(seed)
        return method

    def call(self, method: Method, images: int = 3, scale: float = 1.0) -> dict[str, Tensor]:
        student = outputs(self.student, images=images, scale=scale)
        teacher = outputs(self.teacher, images=images, seed=1, scale=scale)
        return method(as_output(student), as_output(teacher), labels(images))

    def test_gives_its_active_terms_as_finite_float32_scalars(self) -> None:
        method = self.make()
        terms = self.call(method)
        assert set(terms) == method.active_terms == set(method.terms)
        for value in terms.values():
            assert value.shape == ()
            assert value.dtype == torch.float32
            assert value.isfinite()

    def test_gradients_reach_student_and_adapters_but_never_the_teacher(self) -> None:
        method = self.make()
        student, teacher = outputs(self.student), outputs(self.teacher, seed=1)
        terms = method(as_output(student), as_output(teacher), labels())
        if terms:
            torch.stack(list(terms.values())).sum().backward()
        for name, leaf in student.items():
            reached = leaf.grad is not None and bool(leaf.grad.any())
            assert reached == (name in method.student_needs), name
        assert all(leaf.grad is None for leaf in teacher.values())
        for name, parameter in method.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name

    def test_one_image_is_enough(self) -> None:
        assert all(value.isfinite() for value in self.call(self.make(), images=1).values())

    def test_reads_no_more_than_it_says_it_needs(self) -> None:
        method = self.make()
        assert method.student_needs <= OUTPUTS
        assert method.teacher_needs <= OUTPUTS
        student, teacher = outputs(self.student), outputs(self.teacher, seed=1)
        everything = method(as_output(student), as_output(teacher), labels())
        method.seed(0)
        needed = method(
            as_output({name: student[name] for name in method.student_needs}),
            as_output({name: teacher[name] for name in method.teacher_needs}),
            labels(),
        )
        for term, value in everything.items():
            assert torch.equal(value, needed[term])

    def test_says_which_needed_output_is_missing(self) -> None:
        method = self.make()
        empty = SegmenterOutput(None, None, {})
        for name in method.student_needs:
            with pytest.raises(ParamsError, match=f"student did not give.*{name}"):
                method(empty, as_output(outputs(self.teacher)), labels())
        for name in method.teacher_needs:
            with pytest.raises(ParamsError, match=f"teacher did not give.*{name}"):
                method(as_output(outputs(self.student)), empty, labels())

    def test_same_seed_same_terms_whatever_torchs_own_generator_does(self) -> None:
        first = self.make(seed=3)
        second = self.make(seed=3)
        torch.manual_seed(77)
        assert _values(self.call(first)) == _values(self.call(second))

    def test_calling_leaves_torchs_own_generator_alone(self) -> None:
        method = self.make()
        before = torch.get_rng_state()
        self.call(method)
        assert torch.equal(before, torch.get_rng_state())

    def test_saved_and_loaded_it_goes_on_bit_for_bit(self) -> None:
        first = self.make(seed=3)
        self.call(first)
        stored = io.BytesIO()
        torch.save(first.state_dict(), stored)
        stored.seek(0)
        second = self.make(seed=4)
        second.load_state_dict(torch.load(stored, weights_only=True))
        for _ in range(2):
            assert _values(self.call(first)) == _values(self.call(second))

    def test_a_passed_draw_is_used(self) -> None:
        method = self.make()
        student, teacher = as_output(outputs(self.student)), as_output(outputs(self.teacher, seed=1))
        drawn = method.draw(student, labels())
        method.eval()  # batch statistics of a projector must not move between the two calls
        assert _values(method(student, teacher, labels(), draw=drawn)) == _values(
            method(student, teacher, labels(), draw=drawn)
        )

    def test_autocast_gives_float32_terms_near_those_of_float32(self) -> None:
        plain, cast = self.make(), self.make()
        with torch.autocast("cpu", torch.bfloat16):
            terms = self.call(cast)
        for term, value in self.call(plain).items():
            assert terms[term].dtype == torch.float32
            torch.testing.assert_close(terms[term], value, rtol=0.05, atol=1e-6)

    def test_bfloat16_outputs_are_taken(self) -> None:
        student = {name: leaf.detach().bfloat16() for name, leaf in outputs(self.student).items()}
        teacher = {name: leaf.detach().bfloat16() for name, leaf in outputs(self.teacher, seed=1).items()}
        with torch.autocast("cpu", torch.bfloat16):
            terms = self.make()(as_output(student), as_output(teacher), labels())
        assert all(value.dtype == torch.float32 and value.isfinite() for value in terms.values())

    def test_outputs_fifty_times_larger_stay_finite(self) -> None:
        student, teacher = outputs(self.student, scale=50.0), outputs(self.teacher, seed=1, scale=50.0)
        terms = self.make()(as_output(student), as_output(teacher), labels())
        for value in terms.values():
            assert value.isfinite()
            value.backward(retain_graph=True)
        assert all(leaf.grad is None or leaf.grad.isfinite().all() for leaf in student.values())

    def test_float64_stays_float64(self) -> None:
        method = self.make()
        single = self.call(method)
        method = self.make().double()
        student = {name: leaf.detach().double() for name, leaf in outputs(self.student).items()}
        teacher = {name: leaf.detach().double() for name, leaf in outputs(self.teacher, seed=1).items()}
        for term, value in method(as_output(student), as_output(teacher), labels()).items():
            assert value.dtype == torch.float64
            torch.testing.assert_close(value.float(), single[term], rtol=1e-4, atol=1e-7)

    def test_without_a_single_label_nothing_is_nan(self) -> None:
        nothing = Batch(
            target=torch.full((3, STRIDE * HEIGHT, STRIDE * WIDTH), 255, dtype=torch.uint8),
            index=torch.arange(3),
            labelled=torch.zeros(3, dtype=torch.bool),
        )
        student = outputs(self.student)
        terms = self.make()(as_output(student), as_output(outputs(self.teacher, seed=1)), nothing)
        for value in terms.values():
            assert value.isfinite()
            value.backward(retain_graph=True)
        assert all(leaf.grad is None or leaf.grad.isfinite().all() for leaf in student.values())

    def test_a_term_of_no_weight_is_not_built(self) -> None:
        whole = self.make()
        none = self.make(active_terms=set())
        assert self.call(none) == {}
        assert not none.student_needs
        assert not none.teacher_needs
        assert not list(none.parameters())
        for term in whole.terms:
            alone = self.make(active_terms={term})
            assert set(self.call(alone)) == {term}
            assert alone.student_needs <= whole.student_needs
            assert alone.teacher_needs <= whole.teacher_needs

    def test_inputs_are_left_as_they_were(self) -> None:
        student, teacher = outputs(self.student), outputs(self.teacher, seed=1)
        self.make()(as_output(student), as_output(teacher), labels())
        for tensors, spec, seed in ((student, self.student, 0), (teacher, self.teacher, 1)):
            for name, fresh in outputs(spec, seed=seed).items():
                assert torch.equal(tensors[name], fresh), name

    def test_unknown_names_are_refused_all_at_once(self) -> None:
        with pytest.raises(ParamsError) as caught:
            self.make(no_such_parameter=1, active_terms={"no_such_term"}, implementation="fastest")
        assert len(caught.value.problems) == 3

    def test_its_card_is_whole(self) -> None:
        facts = card(self.name)
        assert set(facts.published) <= set(facts.terms)
        assert "reference" in facts.implementations
        assert signature_problems(self.name, facts.defaults()) == []


def _values(terms: dict[str, Tensor]) -> dict[str, float]:
    return {term: value.item() for term, value in terms.items()}
