"""Folding keeps every output to rounding, and leaves no batch norm behind a convolution."""

from __future__ import annotations

from collections.abc import Set

import pytest
import torch
from torch import Tensor, nn

from isoclock.errors import UserError
from isoclock.models import ChannelSpec, Segmenter, SegmenterOutput, build_segmenter
from isoclock.models.folding import folded

ALL = frozenset({"logits", "aux_logits", "backbone", "head"})
ENCODERS = ("tu-test_resnet", "tu-resnet10t", "tu-resnet18", "tu-tf_efficientnet_lite0")


def trained(network: Segmenter) -> Segmenter:
    """The network with statistics and weights of batch norms as training leaves them: all different."""
    torch.manual_seed(1)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean, std=0.1)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias)
    return network


def pspnet(encoder: str) -> Segmenter:
    torch.manual_seed(0)
    return trained(build_segmenter("pspnet", 5, encoder=encoder, head_channels=16, aux_channels=8)).eval()


def norms(network: nn.Module) -> list[nn.Module]:
    return [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]


def outputs(network: nn.Module, images: Tensor, want: Set[str] = ALL) -> dict[str, Tensor]:
    with torch.no_grad():
        output = network(images, want)
    return {name: output.get(name) for name in want}


@pytest.mark.parametrize("encoder", ENCODERS)
def test_folded_is_eager_to_rounding_and_no_norm_is_left(encoder: str) -> None:
    network = pspnet(encoder).double()
    images = torch.randn(2, 3, 64, 96, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    fast = folded(network, torch.float64).double()
    assert norms(network)
    assert not norms(fast)
    expected = outputs(network, images)
    for name, value in outputs(fast, images).items():
        # Weights were rounded to float32 once; at float64 `folded` itself checks to 1e-9.
        assert float((value - expected[name]).norm() / expected[name].norm()) < 1e-6, name
        assert value.stride() == expected[name].stride()


def test_the_given_network_stays_as_it_is() -> None:
    network = pspnet("tu-test_resnet").train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    folded(network, torch.bfloat16)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_are_in_the_type_of_the_computation_and_outputs_have_the_types_of_eager(dtype: torch.dtype) -> None:
    network = pspnet("tu-test_resnet")
    fast = folded(network, dtype).to(memory_format=torch.channels_last)
    assert {parameter.dtype for parameter in fast.parameters()} == {dtype}
    assert all(layer.weight.is_contiguous(memory_format=torch.channels_last) for layer in convolutions(fast))
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(2))
    with torch.autocast("cpu", dtype):
        expected, found = outputs(network, images), outputs(fast, images)
    for name, value in found.items():
        assert value.dtype == expected[name].dtype
        assert float((value.float() - expected[name].float()).norm() / expected[name].float().norm()) < 0.03


def convolutions(network: nn.Module) -> list[nn.Conv2d]:
    return [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]


class Unusual(Segmenter):
    """Batch norms that must stay: of a convolution with two readers, used twice, returned as a tap, or not behind one."""

    taps = {"backbone": 1, "head": 1}
    output_stride = 1

    def __init__(self) -> None:
        super().__init__()
        self.before, self.behind_relu = nn.BatchNorm2d(3), nn.BatchNorm2d(4)
        self.two_readers, self.two_readers_norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)
        self.shared, self.shared_norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.tap, self.tap_norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.plain, self.plain_norm = nn.Conv2d(4, 4, 1, groups=2), nn.BatchNorm2d(4, affine=False)
        self.classifier = nn.Conv2d(4, 5, 1)
        self.channels, self.num_classes = ChannelSpec(backbone=4, head=4), 5

    def forward(self, images: Tensor, want: Set[str] = frozenset({"logits"})) -> SegmenterOutput:
        first = self.two_readers(self.before(images))
        first = self.two_readers_norm(first) + first
        twice = self.shared_norm(self.shared(self.shared_norm(self.shared(first))))
        tap = self.tap(self.behind_relu(twice.relu()))
        head = self.plain_norm(self.plain(self.tap_norm(tap)))
        return SegmenterOutput(self.classifier(head), None, {"backbone": tap, "head": head})


def test_norms_stay_unless_they_alone_read_a_convolution() -> None:
    torch.manual_seed(0)
    network = Unusual().eval()
    for layer in norms(network):
        nn.init.normal_(layer.running_mean)
    fast = folded(network)
    left = {name for name, layer in fast.named_modules() if isinstance(layer, nn.BatchNorm2d)}
    assert left == {"before", "behind_relu", "two_readers_norm", "shared_norm", "tap_norm"}
    images, want = torch.randn(2, 3, 8, 8), frozenset({"logits", "backbone", "head"})
    expected = outputs(network, images, want)
    assert all(torch.allclose(value, expected[name], atol=1e-5) for name, value in outputs(fast, images, want).items())


class Standardised(nn.Conv2d):
    """Its output does not scale with its weights."""

    def forward(self, maps: Tensor) -> Tensor:
        weight = self.weight / self.weight.norm()
        return self._conv_forward(maps, weight, self.bias)


def test_a_network_whose_outputs_change_is_refused() -> None:
    torch.manual_seed(0)
    network = Unusual().eval()
    network.plain = Standardised(4, 4, 1)
    with pytest.raises(UserError, match=r"teacher_inference: Unusual: .* changes if batch norms are folded; use eager"):
        folded(network)
