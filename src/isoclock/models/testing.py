"""Test an architecture against the contract of `isoclock.models.Segmenter`, inside or outside this repository.

In a test module, one test for each check:

    from isoclock.models.testing import SegmenterContract

    class TestConvNet(SegmenterContract):
        architecture = "convnet"
        params = {"width": 8}

Without pytest: `check_architecture("convnet", width=8)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from itertools import combinations
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from isoclock.models.build import build_segmenter
from isoclock.models.card import Architecture, architecture
from isoclock.models.outputs import AUX_LOGITS, BACKBONE, HEAD, LOGITS, SegmenterOutput
from isoclock.models.segmenter import Segmenter
from isoclock.testing import Check, Contract, run_checks

CLASSES = 5
BFLOAT16_TOLERANCE = 0.05  # of the norm of the head's feature


class Subject:
    """An architecture with the parameters that it is tested with. Small ones make the checks fast."""

    def __init__(self, name: str, params: Mapping[str, Any], device: str = "cpu") -> None:
        self.name, self.params, self.device = name, params, device

    @property
    def facts(self) -> Architecture:
        """What its class states."""
        return architecture(self.name)

    @property
    def outputs(self) -> frozenset[str]:
        """Names of all outputs that it states."""
        return self.facts.outputs

    def make(self, seed: int = 0) -> Segmenter:
        """A new network, drawn from `seed`."""
        torch.manual_seed(seed)
        return build_segmenter(self.name, CLASSES, **self.params).to(self.device)

    def images(self, count: int = 2, height: int = 64, width: int = 96) -> Tensor:
        """Images (count, 3, height, width), the same in every call."""
        return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(1)).to(self.device)

    def flops(self, network: Segmenter, *want: str) -> int:
        """Floating-point operations of a forward pass of one image, for the outputs named."""
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(self.images(1), frozenset(want))
        return int(counter.get_total_flops())


def check_facts(subject: Subject) -> None:
    """What the class states is what an instance has."""
    network, facts = subject.make(), subject.facts
    assert isinstance(network, facts.defined.load()), f"build_segmenter made a {type(network).__name__}"
    assert network.training, "a new network must be in training mode"
    assert network.num_classes == CLASSES, f"num_classes is {network.num_classes}, not {CLASSES}"
    for tap in facts.taps:
        assert network.channels.of(tap) > 0, f"channels has none for tap {tap}"


def check_outputs_are_those_wanted(subject: Subject) -> None:
    """Every combination of outputs that is asked for is given, and nothing else. Of many outputs, singles, pairs and all."""
    network, total = subject.make().eval(), len(subject.outputs)
    for count in range(1, total + 1) if total <= 4 else (1, 2, total):
        for names in combinations(sorted(subject.outputs), count):
            given = _given(_forward(network, subject.images(), frozenset(names)))
            assert given == set(names), f"asked for {sorted(names)}, gave {sorted(given)}"


def check_shapes(subject: Subject) -> None:
    """Every output has its channels and the stride that the class states, rounded up where it does not fit the image."""
    network, strides = subject.make().eval(), subject.facts.strides(subject.params)
    largest = max(strides.values())
    for height, width in ((9 * largest, 13 * largest), (9 * largest - 3, 13 * largest - 1)):
        output = _forward(network, subject.images(2, height, width), subject.outputs)
        for name, stride in strides.items():
            channels = CLASSES if name in (LOGITS, AUX_LOGITS) else network.channels.of(name)
            expected = (2, channels, -(-height // stride), -(-width // stride))
            found = tuple(_value(output, name).shape)
            assert found == expected, f"{name} of images of {height} x {width} is {found}, not {expected}"


def check_unwanted_is_not_computed(subject: Subject) -> None:
    """An output costs operations only if it is asked for: a method pays for what it reads."""
    network = subject.make().eval()
    everything = subject.flops(network, *subject.outputs)
    backbone, head, logits = (subject.flops(network, name) for name in (BACKBONE, HEAD, LOGITS))
    assert backbone < head < logits, f"operations of backbone, head and logits: {backbone}, {head}, {logits}"
    assert subject.flops(network, HEAD, LOGITS) == logits, "head costs operations that logits does not"
    if subject.facts.auxiliary_head:
        assert logits < everything, "the auxiliary head runs if logits alone are asked for"
        assert subject.flops(network, AUX_LOGITS) < everything, "the head runs if aux_logits alone are asked for"


def check_unknown_output_is_refused(subject: Subject) -> None:
    """Asking for an output that does not exist raises ValueError and names it (`Segmenter.check_wanted` does)."""
    try:
        subject.make().eval()(subject.images(), frozenset({"masks"}))
    except ValueError as error:
        message = str(error)
    else:
        raise AssertionError("an unknown output must raise ValueError")
    assert "masks" in message, f"the error does not name the unknown output: {message}"


def check_values_do_not_depend_on_what_is_wanted(subject: Subject) -> None:
    """An output has the same values if others are asked for with it."""
    network = subject.make().eval()
    everything = _forward(network, subject.images(), subject.outputs)
    for name in sorted(subject.outputs):
        alone = _forward(network, subject.images(), {name})
        assert torch.equal(_value(alone, name), _value(everything, name)), f"{name} alone has other values"


def check_gradients_reach_every_parameter(subject: Subject) -> None:
    """Logits (and auxiliary logits) train every parameter, with finite gradients."""
    network = subject.make().train()
    output: SegmenterOutput = network(subject.images(), subject.outputs & {LOGITS, AUX_LOGITS})
    scores = [logits for logits in (output.logits, output.aux_logits) if logits is not None]
    torch.stack([logits.square().mean() for logits in scores]).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, f"no gradient reaches {name}"
        assert parameter.grad.isfinite().all(), f"the gradient of {name} is not finite"


def check_seed_decides_weights(subject: Subject) -> None:
    """The same seed of torch's generator gives the same network, another seed another."""
    first, again, other = (subject.make(seed).state_dict() for seed in (5, 5, 6))
    assert all(torch.equal(value, again[key]) for key, value in first.items()), "one seed gave two networks"
    assert any(not torch.equal(value, other[key]) for key, value in first.items()), "two seeds gave one network"


def check_state_dict_is_complete(subject: Subject) -> None:
    """A network that loads another's state_dict gives the same logits."""
    first, second = subject.make(seed=0).eval(), subject.make(seed=1).eval()
    second.load_state_dict(first.state_dict())
    ours, theirs = (_forward(network, subject.images(), {LOGITS}).logits for network in (first, second))
    assert ours is not None
    assert theirs is not None
    assert torch.equal(ours, theirs), "the state_dict does not carry all that the logits depend on"


def check_bfloat16_channels_last(subject: Subject) -> None:
    """Under autocast and in channels-last memory the head's feature is near that of float32."""
    network = subject.make().eval()
    plain = _value(_forward(network, subject.images(), {HEAD}), HEAD)
    network = network.to(memory_format=torch.channels_last)
    with torch.autocast(torch.device(subject.device).type, torch.bfloat16):
        images = subject.images().contiguous(memory_format=torch.channels_last)
        cast = _value(_forward(network, images, {HEAD}), HEAD).float()
    difference = float((cast - plain).norm() / plain.norm())
    assert difference < BFLOAT16_TOLERANCE, f"head under bfloat16 differs by {difference:.3f} of its norm"


CHECKS: tuple[Check, ...] = (
    check_facts,
    check_outputs_are_those_wanted,
    check_shapes,
    check_unwanted_is_not_computed,
    check_unknown_output_is_refused,
    check_values_do_not_depend_on_what_is_wanted,
    check_gradients_reach_every_parameter,
    check_seed_decides_weights,
    check_state_dict_is_complete,
    check_bfloat16_channels_last,
)


def check_architecture(name: str, *, device: str = "cpu", **params: Any) -> None:
    """Run every check on the architecture called `name`, built with `params`, on `device`.

    Raises AssertionError at the first that fails.
    """
    run_checks(name, CHECKS, Subject(name, params, device))


class SegmenterContract(Contract):
    """A base class for pytest: name the architecture and small parameters; each check is a test of its own."""

    checks = CHECKS
    architecture: ClassVar[str]
    params: ClassVar[Mapping[str, Any]] = {}
    device: ClassVar[str] = "cpu"

    @property
    def subject(self) -> Subject:
        """The architecture with its parameters."""
        return Subject(self.architecture, self.params, self.device)


def _forward(network: Segmenter, images: Tensor, want: Set[str]) -> SegmenterOutput:
    with torch.no_grad():
        output: SegmenterOutput = network(images, want)
    return output


def _given(output: SegmenterOutput) -> set[str]:
    given = {LOGITS: output.logits, AUX_LOGITS: output.aux_logits, **output.features}
    return {name for name, value in given.items() if value is not None}


def _value(output: SegmenterOutput, name: str) -> Tensor:
    value = output.get(name)
    assert value is not None, f"{name} was asked for and not given"
    return value
