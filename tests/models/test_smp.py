"""Decoders of segmentation-models-pytorch with any encoder and stride."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from isoclock.errors import ParamsError
from isoclock.models import architecture, build_segmenter
from isoclock.models.testing import SegmenterContract, Subject, check_shapes

SMALL = {"encoder": "tu-test_resnet", "channels": 32, "aux_channels": 8}


class TestSMP(SegmenterContract):
    architecture = "smp"
    params = {"decoder": "fpn", "encoder_stride": 32, **SMALL}


@pytest.mark.parametrize(
    ("decoder", "encoder", "stride", "logits"),
    [
        ("deeplabv3", "mobilenet_v2", 8, 8),
        ("deeplabv3plus", "tu-test_resnet", 16, 4),
        ("pan", "tu-mobilenetv3_small_050", 16, 4),
        ("segformer", "tu-convnext_atto", 32, 4),
        ("upernet", "tu-efficientnet_lite0", 32, 4),
    ],
)
def test_strides_are_as_stated_with_any_encoder(decoder: str, encoder: str, stride: int, logits: int) -> None:
    params = {"decoder": decoder, **SMALL, "encoder": encoder, "encoder_stride": stride}
    assert architecture("smp").strides(params)["logits"] == logits
    check_shapes(Subject("smp", params))


def test_padding_does_not_move_the_image() -> None:
    torch.manual_seed(0)
    network = build_segmenter("smp", 5, decoder="fpn", encoder_stride=32, **SMALL).eval()
    images = torch.randn(1, 3, 50, 70)
    padded = torch.nn.functional.pad(images, (0, 26, 0, 14))
    with torch.no_grad():
        assert torch.equal(network(images).logits, network(padded).logits[..., :13, :18])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder": "tu-no_such_net"}, "encoder: 'tu-no_such_net': cannot be built for fpn"),
        ({"encoder": "resnet17"}, "encoder: 'resnet17': cannot be built for fpn"),
        ({"encoder_stride": 8}, r"smp\.encoder_stride: 8: does not go with the other parameters; choose from 32"),
        ({"decoder": "deeplabv3", "encoder": "tu-convnext_atto", "encoder_stride": 8}, None),
    ],
)
def test_what_does_not_exist_is_refused(change: dict[str, object], message: str | None) -> None:
    params = {"decoder": "fpn", "encoder_stride": 32, **SMALL} | change
    if message is None:
        check_shapes(Subject("smp", params))
        return
    with pytest.raises(ParamsError, match=message):
        build_segmenter("smp", 5, **params)


def test_imagenet_is_the_file_of_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = {"decoder": "fpn", "encoder_stride": 32, **SMALL, "encoder": "mobilenet_v2"}
    source, path = build_segmenter("smp", 5, **params).encoder, tmp_path / "model.safetensors"
    tensors = {name: tensor.contiguous() for name, tensor in source.state_dict().items()}
    save_file(tensors | {"classifier.1.weight": torch.zeros(1), "classifier.1.bias": torch.zeros(1)}, path)
    asked = []

    def cached(repository: str, _file: str, _folder: None, revision: str) -> str:
        asked.append((repository, len(revision)))
        return str(path)

    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", cached)
    network = build_segmenter("smp", 5, weights="imagenet", **params)
    assert asked == [("smp-hub/mobilenet_v2.imagenet", 40)]
    assert network.weights_file == path
    assert all(torch.equal(value, tensors[name]) for name, value in network.encoder.state_dict().items())
    with pytest.raises(ParamsError, match="segmentation-models-pytorch has none of dpn92"):
        build_segmenter("smp", 5, weights="imagenet", **params | {"encoder": "dpn92"})
