"""What every segmentation network has to keep. An architecture's test is a subclass; see test_pspnet.py."""

from __future__ import annotations

import itertools
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from isoclock.models import OUTPUTS, Segmenter, SegmenterOutput, build_segmenter

CLASSES = 5
SUBSETS = [frozenset(names) for count in range(1, 5) for names in itertools.combinations(sorted(OUTPUTS), count)]


class SegmenterContract:
    """Subclass it and name the architecture; `encoder` is a small one, for speed."""

    architecture: ClassVar[str]
    encoder: ClassVar[str] = "tu-test_resnet"
    options: ClassVar[dict[str, Any]] = {"head_channels": 16, "aux_channels": 8}

    def make(self, seed: int = 0) -> Segmenter:
        torch.manual_seed(seed)
        return build_segmenter(self.architecture, self.encoder, CLASSES, **self.options)

    def images(self, count: int = 2, height: int = 64, width: int = 96) -> Tensor:
        return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(1))

    def flops(self, network: Segmenter, *want: str) -> int:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(self.images(1), frozenset(want))
        return counter.get_total_flops()

    @pytest.mark.parametrize("want", SUBSETS, ids=lambda want: "+".join(sorted(want)))
    def test_gives_what_is_asked_and_no_more(self, want: frozenset[str]) -> None:
        output = self.make().eval()(self.images(), want)
        assert {name for name in OUTPUTS if output.get(name) is not None} == want

    def test_every_map_has_stride_8_and_its_channels(self) -> None:
        network = self.make().eval()
        output = network(self.images(2, 72, 104), OUTPUTS)
        assert output.logits.shape == output.aux_logits.shape == (2, CLASSES, 9, 13)
        assert output.features["backbone"].shape == (2, network.channels.backbone, 9, 13)
        assert output.features["head"].shape == (2, network.channels.head, 9, 13)

    def test_what_is_not_asked_is_not_computed(self) -> None:
        network = self.make().eval()
        backbone, head = self.flops(network, "backbone"), self.flops(network, "head")
        logits, everything = self.flops(network, "logits"), self.flops(network, *OUTPUTS)
        assert backbone < head < logits < everything
        assert self.flops(network, "head", "logits") == logits
        assert self.flops(network, "aux_logits") - backbone == everything - logits

    def test_unknown_output_is_refused(self) -> None:
        with pytest.raises(ValueError, match="masks"):
            self.make().eval()(self.images(), {"masks"})

    def test_what_is_asked_does_not_change_a_value(self) -> None:
        network = self.make().eval()
        with torch.no_grad():
            everything = network(self.images(), OUTPUTS)
            for name in OUTPUTS:
                assert torch.equal(network(self.images(), {name}).get(name), everything.get(name)), name

    def test_the_head_tap_comes_before_dropout(self) -> None:
        network = self.make().train()
        torch.manual_seed(0)
        first = network(self.images(), {"head", "logits"})
        torch.manual_seed(1)
        second = network(self.images(), {"head", "logits"})
        assert torch.equal(first.features["head"], second.features["head"])
        assert not torch.equal(first.logits, second.logits)

    def test_gradients_reach_every_parameter(self) -> None:
        network = self.make().train()
        output = network(self.images(), {"logits", "aux_logits"})
        (output.logits.square().mean() + output.aux_logits.square().mean()).backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name

    def test_same_seed_same_network(self) -> None:
        first, second = self.make(seed=5), self.make(seed=5)
        assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))

    def test_weights_travel_by_state_dict(self) -> None:
        first, second = self.make(seed=0).eval(), self.make(seed=1).eval()
        second.load_state_dict(first.state_dict())
        with torch.no_grad():
            assert torch.equal(first(self.images()).logits, second(self.images()).logits)

    def test_bfloat16_channels_last_is_near_float32(self) -> None:
        network = self.make().eval()
        with torch.no_grad():
            plain: SegmenterOutput = network(self.images(), {"head"})
            network = network.to(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16):
                cast = network(self.images().contiguous(memory_format=torch.channels_last), {"head"})
        difference = (cast.features["head"].float() - plain.features["head"]).norm()
        assert difference < 0.05 * plain.features["head"].norm()
