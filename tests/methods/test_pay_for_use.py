"""A method pays for what it uses: its teacher runs as far as it is read, and a term without a weight leaves no trace."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Set
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from isoclock.data.loading.prepared import PreparedData
from isoclock.methods import REFERENCE, ChannelSpec, Method, available, build_method, cards
from isoclock.methods.testing import CLASSES, as_output, labels, outputs
from isoclock.models.outputs import AUX_LOGITS, BACKBONE, HEAD, LOGITS
from isoclock.models.pspnet import PSPNet
from isoclock.params.schema import MethodEntry, Model
from isoclock.runner.device import choose_device
from isoclock.training.assemble import assemble_step
from isoclock.training.step import TrainingStep
from tiny_recipe import recipe

DEVICE = choose_device()
BATCH = 3  # relations between images need as many
ENCODER = "tu-test_resnet"
LARGE = {"skd": (512, 512)}  # a discriminator halves its map four times before it looks at 4 x 4 of it
PARTS = {
    "encoder": {BACKBONE, HEAD, LOGITS, AUX_LOGITS},
    "bottleneck": {HEAD, LOGITS},
    "classifier": {LOGITS},
    "auxiliary": {AUX_LOGITS},
}
STILL = {"batch": BATCH, "lr": 1e-6, "momentum": 0.0, "weight_decay": 0.0}  # weights stay what they are
METHODS = [name for name in available() if name != "none"]
TERMS = [(name, term) for name in METHODS for term in cards()[name].terms]


class Teacher(PSPNet):
    """A teacher whose operations are counted under its own name."""


@dataclass(frozen=True)
class Counted:
    """A step that ran once: operations by part of the teacher, and in all."""

    step: TrainingStep
    total: int
    teacher: dict[str, int]


def size_for(name: str) -> tuple[int, int]:
    """Of the crop."""
    return LARGE.get(name, (128, 256))


def images(size: tuple[int, int]) -> Tensor:
    return torch.randn(BATCH, 3, *size, generator=torch.Generator().manual_seed(0))


def teacher() -> Teacher:
    return Teacher(CLASSES, encoder=ENCODER, head_channels=32, aux_channels=8, dropout=0.1)


def assembled(name: str, terms: Set[str], size: tuple[int, int], params: Mapping[str, Any]) -> TrainingStep:
    """A step put together from an entry such as params/methods.yaml has it, in which only `terms` have a weight."""
    facts = cards()[name]
    ours = {"provenance": {"*": "ours"}}
    entry = MethodEntry(
        method=name,
        implementation=facts.implementations[-1],
        params=dict(params),
        weights={term: 1e-3 if term in terms else 0.0 for term in facts.terms},
        **ours,
    )
    networks = {"encoder": ENCODER, "head_channels": 16, "aux_channels": 8}
    student = Model(architecture="pspnet", params=networks, weights="random", **ours)
    data = cast(
        "PreparedData",
        SimpleNamespace(classes=["c"] * CLASSES, train_images=10, class_pixels=[1] * CLASSES),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # random weights will do
        return assemble_step(
            recipe(crop=list(size), **STILL), student, data, DEVICE, seed=0, method=(entry,), teacher=teacher()
        )


@cache
def counted(name: str, terms: frozenset[str], size: tuple[int, int] | None = None, **params: Any) -> Counted:
    size = size or size_for(name)
    step = assembled(name, terms, size, params)
    truth = labels(BATCH, size=(size[0] // 8, size[1] // 8))
    batch = {"images": images(size), "target": truth.target.long(), "index": truth.index, "labelled": truth.labelled}
    with FlopCounterMode(display=False) as counter:
        step(batch, lr=1e-6)
    return Counted(step, counter.get_total_flops(), by_part(counter))


def by_part(counter: FlopCounterMode) -> dict[str, int]:
    """Operations of the teacher, whole and by part, where there were any."""
    found = {name: sum(operations.values()) for name, operations in counter.get_flop_counts().items()}
    parts = {"whole": found.get("Teacher", 0)} | {part: found.get(f"Teacher.{part}", 0) for part in PARTS}
    return {part: number for part, number in parts.items() if number}


@pytest.mark.parametrize(("name", "term"), [*((name, None) for name in METHODS), *TERMS])
def test_the_teacher_runs_as_far_as_it_is_read(name: str, term: str | None) -> None:
    run = counted(name, frozenset(cards()[name].terms if term is None else {term}))
    needs = run.step.teacher_needs
    assert set(run.teacher) - {"whole"} == {part for part, serves in PARTS.items() if serves & needs}
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        if needs:
            teacher().eval()(images(size_for(name)), needs)
    assert run.teacher == by_part(counter), "no more than one forward pass"


def test_a_tap_at_the_backbone_saves_the_teachers_head() -> None:
    backbone = counted("fitnet", frozenset({"fitnet"}), tap="backbone").teacher
    head = counted("fitnet", frozenset({"fitnet"}), tap="head").teacher
    logits = counted("kd", frozenset({"kd"})).teacher
    assert set(backbone) == {"whole", "encoder"}
    assert backbone["whole"] == backbone["encoder"] == head["encoder"] == logits["encoder"]
    assert head["whole"] > 1.02 * backbone["whole"]
    assert logits["whole"] == head["whole"] + logits["classifier"]


@pytest.mark.parametrize("name", METHODS)
def test_every_output_that_is_asked_for_is_read(name: str) -> None:
    size = tuple(side // 8 for side in size_for(name))
    ours, theirs = ChannelSpec(backbone=24, head=16), ChannelSpec(backbone=48, head=32)
    kind = {"images": BATCH, "size": size}

    def losses(other: str | None) -> dict[str, float]:
        """What a step gives, the teacher's output `other` being another one."""
        torch.manual_seed(0)
        method = build_method(name, student=ours, teacher=theirs, num_classes=CLASSES, dataset_size=10)
        method.to(DEVICE).seed(0)
        taught = outputs(theirs, seed=1, **kind)
        if other is not None:
            taught[other] = outputs(theirs, seed=2, **kind)[other]
        student, batch = as_output(outputs(ours, **kind)), labels(BATCH, size=size)
        found = method(student, as_output(taught), batch)
        found |= method.adversary_step(student, as_output(taught), batch, lr_factor=1.0)
        if method.pretrain_iterations:
            found |= method.pretrain_step(as_output(taught), batch, lr_factor=1.0)
        return {term: value.item() for term, value in found.items()}

    with torch.device("meta"):
        method = build_method(name, student=ours, teacher=theirs, num_classes=CLASSES, dataset_size=10)
    before = losses(None)
    for need in method.teacher_needs | method.pretrain_needs:
        assert losses(need) != before, f"{name} asks for the teacher's {need} and does not look at it"


@pytest.mark.parametrize("name", METHODS)
def test_without_a_weight_nothing_is_built_nor_run(name: str) -> None:
    run = counted(name, frozenset())
    method = run.step.method
    assert isinstance(method, Method)
    assert (run.step.teacher, method.adversary, method.pretrained, method.optimisers) == (None, None, None, {})
    assert (list(method.parameters()), list(method.buffers())) == ([], [])
    assert (method.pretrain_iterations, method.pretrain_needs) == (0, frozenset())
    assert (run.teacher, run.total) == ({}, counted("none", frozenset(), size_for(name)).total)


@pytest.mark.parametrize(("name", "term"), [(name, term) for name, term in TERMS if len(cards()[name].terms) > 1])
def test_a_term_alone_builds_and_runs_no_more_than_all_of_them(name: str, term: str) -> None:
    alone, whole = counted(name, frozenset({term})), counted(name, frozenset(cards()[name].terms))
    for kind in ("named_parameters", "named_buffers"):
        ours, all_of_them = (
            {key: value.shape for key, value in getattr(run.step.method, kind)()} for run in (alone, whole)
        )
        assert ours.items() <= all_of_them.items()
    assert set(alone.teacher) <= set(whole.teacher)
    assert alone.total <= whole.total


@pytest.mark.parametrize("name", METHODS)
def test_a_card_says_what_is_read(name: str) -> None:
    facts = cards()[name]
    if not facts.reads:
        pytest.skip("its file does not say what it reads")
    choices: list[dict[str, Any]] = [{}]
    for key, rule in facts.params.items():
        choices += [
            {key: value} for value in {"choice": rule.get("of", ()), "flag": (True, False)}.get(rule["type"], ())
        ]
    for params in choices:
        for term in facts.terms:
            with torch.device("meta"):
                method = build_method(
                    name,
                    student=ChannelSpec(backbone=24, head=16),
                    teacher=ChannelSpec(backbone=48, head=32),
                    num_classes=CLASSES,
                    dataset_size=10,
                    implementation=REFERENCE,
                    active_terms={term},
                    **params,
                )
            needs = method.student_needs | method.teacher_needs | method.pretrain_needs
            assert facts.outputs_read(params, [term]) == needs, (params, term)
