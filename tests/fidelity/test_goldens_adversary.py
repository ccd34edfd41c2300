"""SKD's discriminator against numbers from the authors' own code: the sequence of its calls in one training step.

The file is too large for the repository; `ISOCLOCK_GOLDENS=<folder>` names the folder to read it from.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden import Golden
from torch import Tensor

from isoclock.methods import Batch, ChannelSpec, Method, build_method
from isoclock.methods.skd.adversary import gradient_penalty, student_loss, teacher_loss
from isoclock.models import SegmenterOutput
from isoclock.runner.device import choose_device

HERE = Path(__file__).parent
FOLDERS = [
    *([Path(os.environ["ISOCLOCK_GOLDENS"])] if "ISOCLOCK_GOLDENS" in os.environ else []),
    HERE / "goldens",
    Path(__file__).parents[3] / "shared/goldens",
]
FILES = sorted({path.name: path for folder in reversed(FOLDERS) for path in folder.glob("skd_adv*.npz")}.values())
VALUE_TOLERANCE, GRADIENT_TOLERANCE, ZERO_TOLERANCE, STATE_TOLERANCE = 1e-6, 1e-5, 1e-10, 1e-12
GENERATOR, DISCRIMINATOR, PENALTY = "adv_generator", "adv_discriminator", "gradient_penalty"

pytestmark = pytest.mark.skipif(not FILES, reason="no skd_adv*.npz: set ISOCLOCK_GOLDENS to the folder that has it")
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
each_implementation = pytest.mark.parametrize("implementation", ["reference", "tuned"])


def generated(shape: list[int], seed: int, scale: float, offset: float) -> Tensor:
    """A parameter that a golden defines by a formula: a hash of the flat index, modulo 2^32, spread over +-scale."""
    index = np.arange(int(np.prod(shape)), dtype=np.uint64)
    low = np.uint64(2**32 - 1)
    value = (index * np.uint64(2654435761) + np.uint64(seed)) & low
    value ^= value >> np.uint64(15)
    value = (value * np.uint64(2246822519)) & low
    value ^= value >> np.uint64(13)
    return torch.as_tensor(scale * (2 * (value / 2.0**32) - 1) + offset).reshape(shape)


def method_of(golden: Golden, implementation: str, **params: Any) -> Method:
    config = golden.meta["config"]
    method = build_method(
        "skd",
        student=ChannelSpec(8, 8),
        teacher=ChannelSpec(8, 8),
        num_classes=golden.meta["shapes"]["K"],
        dataset_size=1,
        implementation=implementation,
        active_terms={"holistic"},
        adversary=config["adv"],
        conv_dim=config["conv_dim"],
        gradient_penalty=config["lambda_gp"],
        **params,
    ).to(choose_device(), torch.float64)
    adversary = discriminator_of(method)
    parameters = dict(adversary.named_parameters())
    assert set(parameters) == set(config["paramgen"])
    with torch.no_grad():
        for name, recipe in config["paramgen"].items():
            parameters[name].copy_(generated(**recipe))
        for name, array in golden.under("state").items():
            adversary.get_buffer(name).copy_(torch.as_tensor(array))
    return method


def discriminator_of(method: Method) -> torch.nn.Module:
    assert method.adversary is not None
    return method.adversary


def inputs_of(golden: Golden) -> tuple[Tensor, Tensor]:
    student, teacher = golden.tensor("in.student_logits"), golden.tensor("in.teacher_logits")
    assert student is not None
    assert teacher is not None
    return student, teacher


def check_value(golden: Golden, term: str, value: Tensor) -> None:
    expected = float(golden.arrays[f"out.{term}"])
    assert abs(value.item() - expected) <= VALUE_TOLERANCE * abs(expected), term


def check_gradients(golden: Golden, term: str, found: dict[str, Tensor]) -> None:
    """Whole gradients where the golden has them, else the stored entries, norm and sum."""
    whole, sampled = golden.under(f"grad.{term}"), golden.under(f"gradsample.{term}")
    places = {*whole, *(key.rsplit(".", 1)[0] for key in sampled)} - {"student_logits"}
    assert {f"param.{name}" for name in found} >= places
    norms = {name: float(gradient.norm()) for name, gradient in found.items()}
    for name, gradient in found.items():
        flat, place = gradient.flatten().numpy(), f"param.{name}"
        if f"grad.{term}.{place}" in golden.meta["zero_up_to_rounding"]["grads"]:
            assert norms[name] <= ZERO_TOLERANCE * max(norms.values()), place
        elif place in whole:
            expected = whole[place].ravel()
            assert np.linalg.norm(flat - expected) <= GRADIENT_TOLERANCE * np.linalg.norm(expected), place
        elif f"{place}.value" in sampled:
            norm = float(sampled[f"{place}.norm"])
            assert norms[name] == pytest.approx(norm, rel=GRADIENT_TOLERANCE), place
            assert abs(flat.sum() - float(sampled[f"{place}.sum"])) <= GRADIENT_TOLERANCE * norm * len(flat) ** 0.5, (
                place
            )
            expected = sampled[f"{place}.value"]
            off = np.linalg.norm(flat[sampled[f"{place}.index"]] - expected)
            assert off <= GRADIENT_TOLERANCE * np.linalg.norm(expected), place
        else:
            assert not flat.any(), f"{term}: the golden has no gradient for {place}"


def gradients(loss: Tensor, adversary: torch.nn.Module) -> dict[str, Tensor]:
    names, parameters = zip(*adversary.named_parameters(), strict=True)
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return {
        name: torch.zeros_like(parameter) if gradient is None else gradient
        for name, parameter, gradient in zip(names, parameters, found, strict=True)
    }


@each_file
@each_implementation
def test_the_sequence_of_a_step(path: Path, implementation: str) -> None:
    golden = Golden.read(path)
    method = method_of(golden, implementation)
    adversary, kind = discriminator_of(method), method.settings["adversary"]
    student, teacher = inputs_of(golden)

    leaf = student.clone().requires_grad_()
    value = method(SegmenterOutput(leaf, None, {}), SegmenterOutput(teacher, None, {}), golden.batch())["holistic"]
    check_value(golden, GENERATOR, value)
    value.backward()
    expected = golden.arrays[f"grad.{GENERATOR}.student_logits"]
    assert leaf.grad is not None
    assert np.linalg.norm(leaf.grad.numpy() - expected) <= GRADIENT_TOLERANCE * np.linalg.norm(expected)
    assert all(parameter.grad is None for parameter in adversary.parameters())

    on_student = student_loss(adversary, student, kind)
    found = gradients(on_student, adversary)
    on_teacher = teacher_loss(adversary, teacher, kind)
    for name, gradient in gradients(on_teacher, adversary).items():
        found[name] = found[name] + gradient
    check_value(golden, DISCRIMINATOR, on_student + on_teacher)
    check_gradients(golden, DISCRIMINATOR, found)

    weight = method.settings["gradient_penalty"]
    penalty = gradient_penalty(adversary, student, teacher, golden.draws()["gp_alpha"], weight)
    check_value(golden, PENALTY, penalty)
    check_gradients(golden, PENALTY, gradients(penalty, adversary))
    for name, array in golden.under("state_after").items():
        assert np.abs(adversary.get_buffer(name).numpy() - array).max() <= STATE_TOLERANCE, name


@each_file
def test_the_gradient_that_the_generator_term_has_for_the_discriminator(path: Path) -> None:
    """Nobody uses it; it is there to be paid for, and it has to be the right one."""
    golden = Golden.read(path)
    adversary = discriminator_of(method_of(golden, "reference"))
    student, _ = inputs_of(golden)
    check_gradients(golden, GENERATOR, gradients(-adversary(student).mean(), adversary))


@each_file
def test_one_call_of_the_adversarys_step_is_that_sequence(path: Path) -> None:
    """Both implementations, WGAN-GP or hinge: losses as in the golden, and the same discriminator afterwards."""
    golden = Golden.read(path)
    student, teacher = (SegmenterOutput(logits, None, {}) for logits in inputs_of(golden))
    batch: Batch = golden.batch()
    stepped = []
    for implementation in ("reference", "tuned"):
        method = method_of(golden, implementation, optimiser="sgd", lr=0.01)
        method(student, teacher, batch)
        losses = method.adversary_step(student, teacher, batch, lr_factor=0.5, draw=golden.draws())
        check_value(golden, DISCRIMINATOR, losses["adversary"])
        stepped.append(discriminator_of(method).state_dict())
    for name, value in stepped[0].items():
        torch.testing.assert_close(stepped[1][name], value, rtol=1e-10, atol=1e-13)
    changed = stepped[1]["last.0.weight"] - generated(**golden.meta["config"]["paramgen"]["last.0.weight"])
    gradient = golden.under(f"gradsample.{DISCRIMINATOR}")
    decay = 5e-4 * generated(**golden.meta["config"]["paramgen"]["last.0.weight"])
    place = "param.last.0.weight"
    expected = -0.005 * (0.1 * gradient[f"{place}.value"] + decay.flatten()[gradient[f"{place}.index"]].numpy())
    np.testing.assert_allclose(changed.flatten().numpy()[gradient[f"{place}.index"]], expected, rtol=1e-5, atol=1e-9)
