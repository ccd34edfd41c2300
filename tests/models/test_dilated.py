"""DeepLabV3 and FCN keep the contract, and images are converted for encoders that were trained on Caffe's."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from isoclock.errors import ParamsError
from isoclock.models import build_segmenter
from isoclock.models.testing import SegmenterContract

SMALL: dict[str, Any] = {"encoder": "tu-test_resnet", "head_channels": 16, "aux_channels": 8}


class TestDeepLabV3(SegmenterContract):
    architecture = "deeplabv3"
    params = SMALL

    def test_a_training_batch_of_one_is_refused(self) -> None:
        with pytest.raises(ParamsError, match=r"batch: 1: the 1x1 pool of DeepLabV3 .*train with 2 images or more"):
            self.subject.make().train()(self.subject.images(1))


class TestFCN(SegmenterContract):
    architecture = "fcn"
    params = SMALL


class TestCaffe(SegmenterContract):
    architecture = "fcn"
    params = SMALL | {"pixels": "caffe"}

    def test_images_reach_the_encoder_as_bgr_minus_the_mean(self) -> None:
        network = self.subject.make().eval()
        given: list[torch.Tensor] = []
        network.encoder.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
        rgb = torch.tensor([200.0, 100.0, 50.0]).view(1, 3, 1, 1).expand(1, 3, 16, 16)
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        network((rgb / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1))
        expected = torch.tensor([50 - 104.00698793, 100 - 116.66876762, 200 - 122.67891434])
        torch.testing.assert_close(given[0][0, :, 3, 3], expected, atol=1e-4, rtol=0)

    def test_the_conversion_is_not_part_of_the_weights(self) -> None:
        plain = build_segmenter("fcn", 5, **SMALL).state_dict()
        assert list(self.subject.make().state_dict()) == list(plain)
