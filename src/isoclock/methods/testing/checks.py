"""Checks of one implementation: its terms, what it reads, its parameters, and its state."""

from __future__ import annotations

import copy
import io

import torch
from torch import Tensor

from isoclock.errors import ParamsError
from isoclock.methods.card import REFERENCE
from isoclock.methods.testing.inputs import as_output, outputs
from isoclock.methods.testing.subject import Subject, values_of
from isoclock.models.outputs import OUTPUTS, SegmenterOutput


def check_facts(subject: Subject) -> None:
    """The facts of the class agree with each other, and its defaults are accepted."""
    facts = subject.facts()
    for fact in ("published", "reads"):
        unknown = sorted(set(getattr(facts, fact)) - set(facts.terms))
        assert not unknown, f"`{fact}` names {', '.join(unknown)}, which `terms` does not"
    assert REFERENCE in facts.implementations, f"`implementations` are {facts.implementations}, without {REFERENCE}"
    problems = facts.problems(facts.defaults())
    assert not problems, f"defaults are not accepted: {'; '.join(problems)}"


def check_terms_are_finite_float32_scalars(subject: Subject) -> None:
    """A call returns the active terms, each a finite float32 scalar."""
    method = subject.make()
    terms = subject.call(method)
    assert set(terms) == method.active_terms == set(method.terms), f"returned {sorted(terms)}, not {method.terms}"
    for term, value in terms.items():
        assert value.shape == (), f"{term} has shape {tuple(value.shape)}, not ()"
        assert value.dtype == torch.float32, f"{term} is {value.dtype}, not torch.float32"
        assert value.isfinite(), f"{term} is {value.item()}"


def check_gradients_reach_student_and_adapters_only(subject: Subject) -> None:
    """Gradients reach every needed output of the student and every adapter, and none of the teacher's outputs."""
    method = subject.make()
    student, teacher = subject.student_outputs(), subject.teacher_outputs()
    terms = method(as_output(student), as_output(teacher), subject.labels())
    if terms:
        torch.stack(list(terms.values())).sum().backward()
    for name, leaf in student.items():
        reached = leaf.grad is not None and bool(leaf.grad.any())
        needed = name in method.student_needs
        assert reached == needed, f"student's {name}: needed is {needed}, but has a gradient is {reached}"
    for name, leaf in teacher.items():
        assert leaf.grad is None, f"a gradient reaches the teacher's {name}"
    for parameter in method.adapters():
        assert parameter.grad is not None, f"no gradient reaches an adapter of shape {tuple(parameter.shape)}"
        assert parameter.grad.isfinite().all(), f"the gradient of an adapter {tuple(parameter.shape)} is not finite"


def check_one_image_is_accepted(subject: Subject) -> None:
    """A batch of one image gives finite terms."""
    for term, value in subject.call(subject.make(), images=1).items():
        assert value.isfinite(), f"{term} is {value.item()} for one image"


def check_only_needed_outputs_are_read(subject: Subject) -> None:
    """With only the outputs of `student_needs` and `teacher_needs`, the terms are the same."""
    method = subject.make()
    unknown = sorted((method.student_needs | method.teacher_needs) - OUTPUTS)
    assert not unknown, f"needs {', '.join(unknown)}; outputs are {', '.join(sorted(OUTPUTS))}"
    student, teacher = subject.student_outputs(), subject.teacher_outputs()
    everything = copy.deepcopy(method)(as_output(student), as_output(teacher), subject.labels())
    needed = method(
        as_output({name: student[name] for name in method.student_needs}),
        as_output({name: teacher[name] for name in method.teacher_needs}),
        subject.labels(),
    )
    for term, value in everything.items():
        assert torch.equal(value, needed[term]), f"{term} depends on an output that is not needed"


def check_missing_output_is_named(subject: Subject) -> None:
    """A needed output that is missing raises ParamsError with its name."""
    method = subject.make()
    empty = SegmenterOutput(None, None, {})
    student, teacher = as_output(subject.student_outputs()), as_output(subject.teacher_outputs())
    for whose, given, needs in (
        ("student", (empty, teacher), method.student_needs),
        ("teacher", (student, empty), method.teacher_needs),
    ):
        if not needs:
            continue
        try:
            method(*given, subject.labels())
        except ParamsError as error:
            message = str(error)
        else:
            raise AssertionError(f"missing outputs of the {whose} are accepted")
        assert all(name in message for name in (whose, *needs)), f"the error does not name what is missing: {message}"


def check_unknown_names_are_reported_together(subject: Subject) -> None:
    """An unknown parameter, term and implementation give a ParamsError with three problems."""
    try:
        subject.make(no_such_parameter=1, active_terms={"no_such_term"}, implementation="fastest")
    except ParamsError as error:
        problems = error.problems
    else:
        raise AssertionError("unknown names are accepted")
    assert len(problems) == 3, f"{len(problems)} problems are reported, not 3: {'; '.join(problems)}"


def check_inactive_term_is_not_built(subject: Subject) -> None:
    """Without active terms there are no parameters and no needs; a term alone needs no more than all terms."""
    whole = subject.make()
    none = subject.make(active_terms=set())
    assert subject.call(none) == {}, "terms are returned although none is active"
    assert not none.student_needs | none.teacher_needs, "outputs are needed although no term is active"
    assert not list(none.parameters()), "parameters are built although no term is active"
    for term in whole.terms:
        alone = subject.make(active_terms={term})
        found = set(subject.call(alone))
        assert found == {term}, f"{sorted(found)} returned although only {term} is active"
        assert alone.student_needs <= whole.student_needs, f"{term} alone needs more of the student than all terms"
        assert alone.teacher_needs <= whole.teacher_needs, f"{term} alone needs more of the teacher than all terms"


def check_inputs_are_not_changed(subject: Subject) -> None:
    """A call changes no output in place."""
    student, teacher = subject.student_outputs(), subject.teacher_outputs()
    subject.make()(as_output(student), as_output(teacher), subject.labels())
    for whose, tensors, spec, seed in (
        ("student", student, subject.student, 0),
        ("teacher", teacher, subject.teacher, 1),
    ):
        for name, fresh in outputs(spec, seed=seed, size=subject.size).items():
            assert torch.equal(tensors[name], fresh), f"the {whose}'s {name} is changed in place"


def check_seed_decides_terms(subject: Subject) -> None:
    """Random draws depend on the method's seed and not on torch's global generator, which a call leaves unchanged."""
    first, second = subject.make(seed=3), subject.make(seed=3)
    torch.manual_seed(77)
    before = _global_states()
    ours, theirs = values_of(subject.call(first)), values_of(subject.call(second))
    assert ours == theirs, f"the same seed gives {ours} and {theirs}"
    assert all(map(torch.equal, before, _global_states())), "a call changes the state of torch's global generator"


def _global_states() -> list[Tensor]:
    on_gpu = [torch.cuda.get_rng_state()] if torch.cuda.is_initialized() else []
    return [torch.get_rng_state(), *on_gpu]


def check_passed_draw_is_used(subject: Subject) -> None:
    """Random tensors passed as `draw` replace the method's own."""
    method = subject.make()
    student, teacher = as_output(subject.student_outputs()), as_output(subject.teacher_outputs())
    drawn = method.draw(student, subject.labels())
    other = copy.deepcopy(method)  # a call may change a memory bank
    other.seed(99)
    ours, theirs = (values_of(one(student, teacher, subject.labels(), draw=drawn)) for one in (method, other))
    assert ours == theirs, f"the same draw gives {ours} and {theirs}"


def check_saved_state_is_complete(subject: Subject) -> None:
    """A method that loads another's state_dict continues with bit-identical values."""
    first = subject.make(seed=3)
    subject.step(first)
    stored = io.BytesIO()
    torch.save(first.state_dict(), stored)
    stored.seek(0)
    second = subject.make(seed=4)
    second.load_state_dict(torch.load(stored, weights_only=True))
    for _ in range(2):
        ours, theirs = subject.step(first), subject.step(second)
        assert ours == theirs, f"after loading, a step gives {theirs} instead of {ours}"


CHECKS = (
    check_facts,
    check_terms_are_finite_float32_scalars,
    check_gradients_reach_student_and_adapters_only,
    check_one_image_is_accepted,
    check_only_needed_outputs_are_read,
    check_missing_output_is_named,
    check_unknown_names_are_reported_together,
    check_inactive_term_is_not_built,
    check_inputs_are_not_changed,
    check_seed_decides_terms,
    check_passed_draw_is_used,
    check_saved_state_is_complete,
)
