"""PSPNet keeps the contract, and has the size and dilations of the literature."""

import pytest
import torch
from torch import nn

from isoclock.errors import ParamsError
from isoclock.models import Segmenter, build_segmenter
from isoclock.models.testing import SegmenterContract


class TestPSPNet(SegmenterContract):
    architecture = "pspnet"
    params = {"encoder": "tu-test_resnet", "head_channels": 16, "aux_channels": 8}

    def test_the_head_tap_comes_before_dropout(self) -> None:
        network, images = self.subject.make().train(), self.subject.images()
        torch.manual_seed(0)
        first = network(images, {"head", "logits"})
        torch.manual_seed(1)
        second = network(images, {"head", "logits"})
        assert torch.equal(first.features["head"], second.features["head"])
        assert not torch.equal(first.logits, second.logits)

    def test_the_auxiliary_head_adds_its_own_operations_and_no_more(self) -> None:
        network, flops = self.subject.make().eval(), self.subject.flops
        both = flops(network, "logits", "aux_logits")
        assert both - flops(network, "logits") == flops(network, "aux_logits") - flops(network, "backbone")

    def test_a_training_batch_of_one_is_refused(self) -> None:
        with pytest.raises(ParamsError, match=r"batch: 1: .*train with 2 images or more"):
            self.subject.make().train()(self.subject.images(1))

    def test_a_single_image_can_be_evaluated(self) -> None:
        assert self.subject.make().eval()(self.subject.images(1)).logits.shape[0] == 1

    def test_cross_entropy_starts_near_that_of_guessing(self) -> None:
        logits = self.subject.make().train()(self.subject.images()).logits
        target = torch.randint(0, 5, (2, 8, 12), generator=torch.Generator().manual_seed(0))
        assert nn.functional.cross_entropy(logits, target).item() == pytest.approx(1.609, abs=0.05)


def on_paper(encoder: str, head_channels: int, aux_channels: int) -> Segmenter:
    """A full-sized network on the meta device, which takes no memory."""
    params = {"encoder": encoder, "dilation": "mmsegmentation"}
    with torch.device("meta"):
        return build_segmenter("pspnet", 19, **params, head_channels=head_channels, aux_channels=aux_channels)


def dilations(layer: nn.Module) -> list[int]:
    """Dilation of the (last) 3x3 convolution of each block."""
    return [block.conv2.dilation[0] for block in layer]


def test_dilations_are_contracted_as_in_mmsegmentation() -> None:
    encoder = on_paper("tu-resnet101", 512, 256).encoder.model
    assert dilations(encoder.layer3) == [1] + [2] * 22
    assert dilations(encoder.layer4) == [2, 4, 4]
    basic = on_paper("tu-resnet18", 128, 64).encoder.model
    assert [block.conv1.dilation[0] for block in basic.layer3] == [1, 2]
    assert [block.conv1.dilation[0] for block in basic.layer4] == [2, 4]
    strides = [module.stride for module in basic.layer4.modules() if isinstance(module, nn.Conv2d)]
    assert set(strides) == {(1, 1)}
