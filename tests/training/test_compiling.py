"""Networks and losses compile as a whole; what does not is named and runs as it is.

Graphs are captured and then run operator by operator (backend `eager`): this takes seconds, and gives the bits of no compilation.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_segmenter import CPU, recipe
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch.utils.flop_counter import FlopCounterMode

from isoclock.errors import ParamsError, UserError
from isoclock.methods import build_method
from isoclock.methods.bundle import Bundle
from isoclock.methods.contract import Method
from isoclock.methods.testing import as_output
from isoclock.methods.testing.subject import Subject
from isoclock.models import Segmenter, build_segmenter
from isoclock.training import step as step_module
from isoclock.training.compiling import RECOMPILATIONS, Compiler
from isoclock.training.step import TrainingStep

CLASSES = 4
WHOLE = {  # references without a graph break, and the terms of one
    "kd": None, "cwd": None, "fitnet": None, "bpkd": None, "ifvd": None, "mgd": None, "skd": {"pair"}, "dist": None,
    "at": None, "pkd": None, "cc": None,
}  # fmt: skip


@pytest.fixture
def captured(monkeypatch: pytest.MonkeyPatch) -> Compiler:
    """Steps capture graphs and generate no code; the same for a compiler of its own."""
    torch.compiler.reset()
    counters.clear()
    monkeypatch.setattr(step_module, "Compiler", partial(Compiler, backend="eager"))
    return Compiler(recipe(compile="default"), CPU, backend="eager")


def network() -> Segmenter:
    return build_segmenter("pspnet", CLASSES, encoder="tu-test_resnet", head_channels=16, aux_channels=8)


def batch() -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(0)
    return {
        "images": torch.randn(2, 3, 32, 64, generator=random),
        "target": torch.randint(0, CLASSES, (2, 32, 64), generator=random),
        "index": torch.tensor([0, 1]),
        "labelled": torch.tensor([True, True]),
    }


def step(*names: str, **changes: Any) -> TrainingStep:
    torch.manual_seed(0)
    student, teacher = network(), network()
    parts = [
        build_method(name, student=student.channels, teacher=teacher.channels, num_classes=CLASSES, dataset_size=10)
        for name in names
    ]
    method: Method | Bundle = parts[0] if len(parts) == 1 else Bundle(parts)
    method.seed(0)
    weights = {term: 1.0 for part in parts for term in part.terms}
    return TrainingStep(student, method, weights, recipe(**changes), CPU, teacher=teacher, num_classes=CLASSES)


@pytest.mark.parametrize("training", [True, False])
def test_a_network_compiles_as_a_whole(training: bool, captured: Compiler) -> None:
    images = batch()["images"]
    captured("network", network().train(training))(images, frozenset({"logits", "aux_logits", "backbone", "head"}))
    assert captured.not_compiled == []


@pytest.mark.parametrize("name", WHOLE)
def test_a_loss_compiles_as_a_whole(name: str, captured: Compiler) -> None:
    """With the checks of its inputs, if it draws nothing."""
    subject = type("Named", (Subject,), {"name": name})()
    method = subject.make(active_terms=WHOLE[name])
    student, teacher = (as_output(outputs()) for outputs in (subject.student_outputs, subject.teacher_outputs))
    inputs: tuple[Any, ...] = (student, teacher, subject.labels())
    function: Callable[..., dict[str, Tensor]] = method.forward
    if type(method).draw is not Method.draw:
        function, inputs = method.compute, (*inputs, method.draw(student, subject.labels()))
    expected, found = function(*inputs), captured(name, function)(*inputs)
    assert captured.not_compiled == []
    assert all(torch.equal(value, expected[term]) for term, value in found.items())


@pytest.mark.parametrize(
    "names",
    [("kd",), *(pytest.param(names, marks=pytest.mark.test_all) for names in (("none",), ("mgd",), ("kd", "fitnet")))],
    ids="+".join,
)
def test_a_step_is_that_of_plain_code(names: tuple[str, ...], captured: Compiler) -> None:
    """Its bits, the keys of its states, and its floating-point operations; and nothing is compiled after the first step."""
    graphs = counters["stats"]
    plain, compiled = step(*names), step(*names, compile="default")
    in_first = 0
    for number in range(2):
        terms = []
        for side in (plain, compiled):
            torch.manual_seed(number)
            terms.append(side(batch(), 0.05).terms)
        assert all(torch.equal(value, terms[1][term]) for term, value in terms[0].items())
        in_first = in_first or graphs["unique_graphs"]
    assert graphs["unique_graphs"] == in_first > 0
    assert compiled.compiler.not_compiled == []
    for name in ("student", "method", "optimiser"):
        ours, theirs = (getattr(side, name).state_dict() for side in (plain, compiled))
        assert list(ours) == list(theirs)
    student = plain.student.state_dict()
    assert all(torch.equal(value, student[name]) for name, value in compiled.student.state_dict().items())
    flops = []
    for side in (plain, compiled):
        with FlopCounterMode(display=False) as counter:
            side(batch(), 0.05)
        flops.append(counter.get_total_flops())
    assert flops[0] == flops[1] > 0


def test_the_teacher_alone_is_compiled_where_only_it_is_to_be(captured: Compiler) -> None:
    compiled, plain = step("kd", teacher_inference="compiled"), step("kd")
    assert compiled.compiler.mode is None
    torch.manual_seed(0)
    expected = plain(batch(), 0.05).terms["kd"]
    torch.manual_seed(0)
    assert float(compiled(batch(), 0.05).terms["kd"]) == pytest.approx(float(expected), rel=1e-4)
    assert isinstance(compiled._run_student, nn.Module)
    assert not isinstance(compiled._run_teacher, nn.Module)


def test_what_cannot_be_compiled_runs_as_it_is_and_is_named(captured: Compiler) -> None:
    def reads_a_value(values: Tensor) -> Tensor:
        return values * 2 if values.sum().item() > 0 else values

    function = captured("loss", reads_a_value)
    for sign in (1, -1, 1):
        values = torch.full((3,), float(sign))
        assert torch.equal(function(values), reads_a_value(values))
    (problem,) = captured.not_compiled
    assert problem.startswith("loss: ")


def test_what_compiles_again_and_again_runs_as_it_is_and_is_named(captured: Compiler) -> None:
    calls = 0

    def counts(values: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return values * calls

    function = captured("loss", counts)
    for _ in range(RECOMPILATIONS + 8):
        function(torch.ones(3))
    assert calls == RECOMPILATIONS + 8
    assert len(captured.not_compiled) == 1


def test_cuda_graphs_are_refused_without_a_gpu() -> None:
    with pytest.raises(ParamsError, match=r"compile: reduce-overhead: CUDA graphs need a GPU, and this device is cpu"):
        Compiler(recipe(compile="reduce-overhead"), CPU)


@pytest.mark.test_all
@pytest.mark.timeout(900)
@pytest.mark.skipif(shutil.which("g++") is None, reason="Inductor needs a C++ compiler: g++ is not installed")
def test_generated_code_gives_the_values_of_plain_code() -> None:
    torch.compiler.reset()
    subject = type("KD", (Subject,), {"name": "kd"})()
    plain, compiled = subject.make(), subject.make()
    compiler = Compiler(recipe(compile="default"), CPU)
    compiled.compiled = compiler("kd", compiled.compute)
    assert float(subject.call(compiled)["kd"]) == pytest.approx(float(subject.call(plain)["kd"]), rel=1e-5)
    assert compiler.not_compiled == []


@pytest.mark.test_all
@pytest.mark.timeout(900)
def test_a_compiler_that_fails_ends_the_run_with_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import config

    torch.compiler.reset()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    function = Compiler(recipe(compile="default"), CPU)("student", torch.sin)
    with (
        config.patch({"cpp.cxx": (None, "/nonexistent")}),
        pytest.raises(UserError, match=r"^compile: student: .*No working C\+\+ compiler.*set compile: none.*$"),
    ):
        function(torch.ones(1000))
