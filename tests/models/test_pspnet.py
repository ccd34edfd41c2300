import pytest
import torch
from segmenter_contract import SegmenterContract
from torch import nn

from isoclock.errors import ParamsError
from isoclock.models import Segmenter, build_segmenter
from isoclock.models.build import parameter_count


class TestPSPNet(SegmenterContract):
    architecture = "pspnet"

    def test_a_training_batch_of_one_is_refused_in_words(self) -> None:
        with pytest.raises(ParamsError, match=r"batch: 1: .*train with 2 images or more"):
            self.make().train()(self.images(1))

    def test_a_single_image_can_be_evaluated(self) -> None:
        assert self.make().eval()(self.images(1)).logits.shape[0] == 1

    def test_cross_entropy_starts_near_that_of_guessing(self) -> None:
        logits = self.make().train()(self.images()).logits
        target = torch.randint(0, 5, (2, 8, 12), generator=torch.Generator().manual_seed(0))
        assert nn.functional.cross_entropy(logits, target).item() == pytest.approx(1.609, abs=0.05)


def on_paper(encoder: str, head_channels: int, aux_channels: int) -> Segmenter:
    """A full-sized network without its memory."""
    with torch.device("meta"):
        return build_segmenter("pspnet", encoder, 19, head_channels=head_channels, aux_channels=aux_channels)


@pytest.mark.parametrize(
    ("encoder", "head_channels", "aux_channels", "millions"),
    [("tu-resnet18", 128, 64, 12.8), ("tu-resnet101", 512, 256, 68.0)],
)
def test_parameters_are_those_of_the_literature(
    encoder: str, head_channels: int, aux_channels: int, millions: float
) -> None:
    assert parameter_count(on_paper(encoder, head_channels, aux_channels)) / 1e6 == pytest.approx(millions, abs=0.1)


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
