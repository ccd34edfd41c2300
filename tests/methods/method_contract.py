"""What every method has to keep, in both implementations. A method's test is a subclass with its name; see test_kd.py."""

from __future__ import annotations

import copy
import io
from typing import Any, ClassVar

import pytest
import torch
from equivalence import EquivalenceContract
from method_inputs import CLASSES, HEIGHT, STRIDE, STUDENT, TEACHER, WIDTH, as_output, labels, outputs
from torch import Tensor, nn

from isoclock.errors import ParamsError
from isoclock.methods import Batch, Method, build_method, card
from isoclock.models import OUTPUTS, SegmenterOutput

__all__ = [
    "CLASSES",
    "HEIGHT",
    "STRIDE",
    "STUDENT",
    "TEACHER",
    "WIDTH",
    "AdversaryContract",
    "MethodContract",
    "PretrainContract",
    "as_output",
    "labels",
    "outputs",
]


class MethodContract(EquivalenceContract):
    """Subclass it, name the method, and say which params to build it with (and which `size` of maps, if it is particular)."""

    name: ClassVar[str]
    params: ClassVar[dict[str, Any]] = {}
    implementation: ClassVar[str] = "reference"

    @pytest.fixture(autouse=True)
    def _choose(self, implementation: str) -> None:
        self.implementation = implementation  # type: ignore[misc]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        chosen = card(metafunc.cls.name).implementations if metafunc.cls is not None else ("reference",)
        if metafunc.function.__name__ in vars(EquivalenceContract):
            chosen = ("both",)  # those build the two themselves
        metafunc.parametrize("implementation", chosen)

    def make(self, seed: int = 0, **changes: Any) -> Method:
        torch.manual_seed(seed)
        method = build_method(
            self.name,
            **{
                "student": self.student,
                "teacher": self.teacher,
                "num_classes": CLASSES,
                "dataset_size": 10,
                "implementation": self.implementation,
                **self.params,
                **changes,
            },
        )
        method.seed(seed)
        return method

    def call(self, method: Method, images: int = 3, scale: float = 1.0) -> dict[str, Tensor]:
        student = self.student_outputs(images=images, scale=scale)
        teacher = self.teacher_outputs(images=images, scale=scale)
        return method(as_output(student), as_output(teacher), self.labels(images))

    def step(self, method: Method) -> dict[str, float]:
        """A call, and a step of the adversary where there is one: all values that they give."""
        terms = self.call(method)
        student, teacher = as_output(self.student_outputs()), as_output(self.teacher_outputs())
        return _values(terms | method.adversary_step(student, teacher, self.labels(), lr_factor=1.0))

    def student_outputs(self, images: int = 3, scale: float = 1.0) -> dict[str, Tensor]:
        return outputs(self.student, images=images, scale=scale, size=self.size)

    def teacher_outputs(self, images: int = 3, scale: float = 1.0) -> dict[str, Tensor]:
        return outputs(self.teacher, images=images, seed=1, scale=scale, size=self.size)

    def labels(self, images: int = 3) -> Batch:
        return labels(images, size=self.size)

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
        student, teacher = self.student_outputs(), self.teacher_outputs()
        terms = method(as_output(student), as_output(teacher), self.labels())
        if terms:
            torch.stack(list(terms.values())).sum().backward()
        for name, leaf in student.items():
            reached = leaf.grad is not None and bool(leaf.grad.any())
            assert reached == (name in method.student_needs), name
        assert all(leaf.grad is None for leaf in teacher.values())
        for parameter in method.adapters():
            assert parameter.grad is not None
            assert parameter.grad.isfinite().all()

    def test_one_image_is_enough(self) -> None:
        assert all(value.isfinite() for value in self.call(self.make(), images=1).values())

    def test_reads_no_more_than_it_says_it_needs(self) -> None:
        method = self.make()
        assert method.student_needs | method.teacher_needs <= OUTPUTS
        student, teacher = self.student_outputs(), self.teacher_outputs()
        everything = copy.deepcopy(method)(as_output(student), as_output(teacher), self.labels())
        needed = method(
            as_output({name: student[name] for name in method.student_needs}),
            as_output({name: teacher[name] for name in method.teacher_needs}),
            self.labels(),
        )
        for term, value in everything.items():
            assert torch.equal(value, needed[term])

    def test_says_which_needed_output_is_missing(self) -> None:
        method = self.make()
        empty = SegmenterOutput(None, None, {})
        for name in method.student_needs:
            with pytest.raises(ParamsError, match=f"student did not give.*{name}"):
                method(empty, as_output(self.teacher_outputs()), self.labels())
        for name in method.teacher_needs:
            with pytest.raises(ParamsError, match=f"teacher did not give.*{name}"):
                method(as_output(self.student_outputs()), empty, self.labels())

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
        self.step(first)
        stored = io.BytesIO()
        torch.save(first.state_dict(), stored)
        stored.seek(0)
        second = self.make(seed=4)
        second.load_state_dict(torch.load(stored, weights_only=True))
        for _ in range(2):
            assert self.step(first) == self.step(second)

    def test_a_passed_draw_is_used(self) -> None:
        method = self.make()
        student, teacher = as_output(self.student_outputs()), as_output(self.teacher_outputs())
        drawn = method.draw(student, self.labels())
        other = copy.deepcopy(method)  # for banks move with every call
        other.seed(99)
        assert _values(method(student, teacher, self.labels(), draw=drawn)) == _values(
            other(student, teacher, self.labels(), draw=drawn)
        )

    def test_autocast_gives_float32_terms_near_those_of_float32(self) -> None:
        plain, cast = self.make(), self.make()
        with torch.autocast("cpu", torch.bfloat16):
            terms = self.call(cast)
        for term, value in self.call(plain).items():
            assert terms[term].dtype == torch.float32
            torch.testing.assert_close(terms[term], value, rtol=0.05, atol=1e-6)

    def test_bfloat16_outputs_are_taken(self) -> None:
        student = {name: leaf.detach().bfloat16() for name, leaf in self.student_outputs().items()}
        teacher = {name: leaf.detach().bfloat16() for name, leaf in self.teacher_outputs().items()}
        with torch.autocast("cpu", torch.bfloat16):
            terms = self.make()(as_output(student), as_output(teacher), self.labels())
        assert all(value.dtype == torch.float32 and value.isfinite() for value in terms.values())

    def test_outputs_fifty_times_larger_stay_finite(self) -> None:
        student, teacher = self.student_outputs(scale=50.0), self.teacher_outputs(scale=50.0)
        terms = self.make()(as_output(student), as_output(teacher), self.labels())
        for value in terms.values():
            assert value.isfinite()
            value.backward(retain_graph=True)
        assert all(leaf.grad is None or leaf.grad.isfinite().all() for leaf in student.values())

    def test_float64_stays_float64(self) -> None:
        method = self.make()
        single = self.call(method)
        method = self.make().double()
        student = {name: leaf.detach().double() for name, leaf in self.student_outputs().items()}
        teacher = {name: leaf.detach().double() for name, leaf in self.teacher_outputs().items()}
        for term, value in method(as_output(student), as_output(teacher), self.labels()).items():
            assert value.dtype == torch.float64
            torch.testing.assert_close(value.float(), single[term], rtol=1e-4, atol=1e-7)

    def test_without_a_single_label_nothing_is_nan(self) -> None:
        nothing = Batch(
            target=torch.full((3, STRIDE * self.size[0], STRIDE * self.size[1]), 255, dtype=torch.uint8),
            index=torch.arange(3),
            labelled=torch.zeros(3, dtype=torch.bool),
        )
        student = self.student_outputs()
        terms = self.make()(as_output(student), as_output(self.teacher_outputs()), nothing)
        for value in terms.values():
            assert value.isfinite()
            value.backward(retain_graph=True)
        assert all(leaf.grad is None or leaf.grad.isfinite().all() for leaf in student.values())

    def test_a_term_that_reads_labels_is_nothing_where_there_are_none(self) -> None:
        """Whatever moves with the labels of the labelled images asks nothing of the student on the unlabelled one."""
        batch = self.labels()
        other = batch.target.clone()
        other[batch.labelled] = other[batch.labelled].roll((5, 7), (1, 2))
        moved = self._terms_and_gradients(Batch(other, batch.index, batch.labelled))
        for term, (value, gradients) in self._terms_and_gradients(batch).items():
            reads_labels = value != moved[term][0]
            assert not (reads_labels and gradients[~batch.labelled].any()), term

    def _terms_and_gradients(self, batch: Batch) -> dict[str, tuple[float, Tensor]]:
        """Each term and the size of its gradient by image (B,), from a fresh method that saw one batch before."""
        student, method = self.student_outputs(), self.make()
        for module in method.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()  # an adapter's batch statistics are of all images, as the student's own are
        method(as_output(student), as_output(self.teacher_outputs()), batch)  # which fills banks
        found = {}
        for term, value in method(as_output(student), as_output(self.teacher_outputs()), batch).items():
            leaves = list(student.values())
            gradients = torch.autograd.grad(value, leaves, allow_unused=True, retain_graph=True)
            found[term] = (
                value.item(),
                sum((g.abs().flatten(1).sum(1) for g in gradients if g is not None), torch.zeros(len(batch.index))),
            )
        return found

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
        student, teacher = self.student_outputs(), self.teacher_outputs()
        self.make()(as_output(student), as_output(teacher), self.labels())
        for tensors, spec, seed in ((student, self.student, 0), (teacher, self.teacher, 1)):
            for name, fresh in outputs(spec, seed=seed, size=self.size).items():
                assert torch.equal(tensors[name], fresh), name

    def test_unknown_names_are_refused_all_at_once(self) -> None:
        with pytest.raises(ParamsError) as caught:
            self.make(no_such_parameter=1, active_terms={"no_such_term"}, implementation="fastest")
        assert len(caught.value.problems) == 3

    def test_its_card_is_whole(self) -> None:
        facts = card(self.name)
        assert set(facts.published) <= set(facts.terms)
        assert facts.implementations == (("reference",) if self.name == "none" else ("reference", "tuned"))
        assert facts.problems(facts.defaults()) == []


class AdversaryContract(MethodContract):
    """For a method with an adversary."""

    def test_an_adversary_learns_and_leaves_the_student_alone(self) -> None:
        method = self.make()
        assert method.adversary is not None
        ours = {id(parameter) for parameter in method.adversary.parameters()}
        assert not ours & {id(parameter) for parameter in method.adapters()}
        before = copy.deepcopy(method.adversary.state_dict())
        student, teacher = self.student_outputs(), self.teacher_outputs()
        losses = method.adversary_step(as_output(student), as_output(teacher), self.labels(), lr_factor=1.0)
        assert losses
        assert all(not loss.requires_grad and loss.isfinite() for loss in losses.values())
        assert any(not torch.equal(value, before[name]) for name, value in method.adversary.state_dict().items())
        assert all(leaf.grad is None for leaf in (*student.values(), *teacher.values()))
        assert all(parameter.grad is None for parameter in method.adapters())


class PretrainContract(MethodContract):
    """For a method with a pre-training."""

    def test_pre_training_moves_only_what_is_pre_trained_and_stays_afterwards(self) -> None:
        method = self.make()
        assert method.pretrain_iterations > 0
        assert method.pretrained is not None
        before, adapters = copy.deepcopy(method.pretrained.state_dict()), copy.deepcopy(method.adapters())
        for _ in range(2):
            losses = method.pretrain_step(as_output(self.teacher_outputs()), self.labels(), lr_factor=1.0)
            assert all(not loss.requires_grad and loss.isfinite() for loss in losses.values())
        after = copy.deepcopy(method.pretrained.state_dict())
        assert any(not torch.equal(value, before[name]) for name, value in after.items())
        assert all(torch.equal(old, new) for old, new in zip(adapters, method.adapters(), strict=True))
        torch.stack(list(self.call(method).values())).sum().backward()
        assert all(torch.equal(value, after[name]) for name, value in method.pretrained.state_dict().items())


def _values(terms: dict[str, Tensor]) -> dict[str, float]:
    return {term: value.item() for term, value in terms.items()}
