"""Encoders: stride, dilation, and the weights they start from."""

import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from isoclock.errors import ArtifactError, ParamsError, UserError
from isoclock.models import hub_weights
from isoclock.models.encoders import RandomWeightsWarning, build_encoder

SMALL = "tu-test_resnet"
STRIDE_8 = ["resnet10t", "resnet18", "test_resnet", "tf_efficientnet_lite0", "lcnet_050", "mobilenetv2_050"]


@pytest.mark.parametrize("name", STRIDE_8)
def test_the_deepest_two_stages_really_have_stride_8(name: str) -> None:
    encoder = build_encoder(f"tu-{name}").eval()
    with torch.no_grad():
        stages = encoder(torch.zeros(1, 3, 64, 128))
    assert [stage.shape[-2:] for stage in stages[-2:]] == [(8, 16), (8, 16)]
    assert [stage.shape[1] for stage in stages] == encoder.out_channels


@pytest.mark.parametrize("name", ["tu-ghostnet_050", "tu-test_vit", "tu-test_mambaout", "tu-no_such_net"])
def test_an_encoder_that_cannot_be_dilated_is_refused(name: str) -> None:
    with pytest.raises(ParamsError, match=rf"encoder: '{name}': .*choose another encoder"):
        build_encoder(name)


def test_an_encoder_that_is_not_timms_is_refused() -> None:
    with pytest.raises(ParamsError, match="write 'tu-resnet18'"):
        build_encoder("resnet18")


def test_random_weights_warn_and_none_do_not() -> None:
    with pytest.warns(RandomWeightsWarning, match="starts from random weights"):
        build_encoder(SMALL, "random")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build_encoder(SMALL)


@pytest.mark.parametrize("weights", ["imagenet", "resnet18.tv_in1k"])
def test_weights_without_the_hub_are_an_error_with_a_remedy(weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(hub_weights, "_reachable", lambda address: bool(asked.append(address)))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    name = weights if weights != "imagenet" else "resnet18"
    with pytest.raises(UserError, match=rf"weights: {name} is not in the cache .* local \.safetensors"):
        build_encoder("tu-resnet18", weights)
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("weights", "problem"),
    [
        ("resnet18.no_such", "timm has no such weights of resnet18; choose from .*resnet18.tv_in1k"),
        ("resnet50.tv_in1k", "not a tag of encoder tu-resnet18; choose one that starts with resnet18"),
    ],
)
def test_a_tag_that_does_not_exist_or_is_of_another_encoder_is_refused(weights: str, problem: str) -> None:
    with pytest.raises(ParamsError, match=problem):
        build_encoder("tu-resnet18", weights)


def test_imagenet_weights_that_timm_does_not_have_are_refused() -> None:
    with pytest.raises(UserError, match="timm has none for 'lcnet_035'"):
        build_encoder("tu-lcnet_035", "imagenet")


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, nn.Module]:
    """A file in the hub's cache, and the encoder that it is of."""
    torch.manual_seed(8)
    source, path = build_encoder(SMALL).model, tmp_path / "model.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in source.state_dict().items()}, path)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: str(path))
    return path, source


@pytest.mark.parametrize("weights", ["imagenet", "test_resnet.r160_in1k"])
def test_a_tag_is_loaded_from_the_cache(weights: str, cached: tuple[Path, nn.Module]) -> None:
    path, source = cached
    torch.manual_seed(0)
    loaded = build_encoder(SMALL, weights)
    assert all(torch.equal(a, b) for a, b in zip(source.parameters(), loaded.model.parameters(), strict=True))
    assert loaded.weights_file == path


def test_weights_of_another_stem_are_refused(cached: tuple[Path, nn.Module]) -> None:
    with pytest.raises(ArtifactError, match=r"model\.safetensors: lacks .* of the encoder\'s"):
        build_encoder(SMALL, "test_resnet.r160_in1k", stem="deep64")


@pytest.mark.parametrize(
    ("stem", "widths"), [("own", [64]), ("plain", [64]), ("deep", [32, 32, 64]), ("deep64", [64, 64, 128])]
)
def test_stems_of_a_resnet(stem: str, widths: list[int]) -> None:
    first = build_encoder("tu-resnet18", stem=stem).model.conv1
    assert [layer.out_channels for layer in first.modules() if isinstance(layer, nn.Conv2d)] == widths


def test_a_stem_of_another_kind_of_encoder_is_refused() -> None:
    with pytest.raises(ParamsError, match="lcnet_050"):
        build_encoder("tu-lcnet_050", stem="deep")


def test_a_basic_block_has_one_dilated_convolution_in_mmsegmentation_and_two_in_timm() -> None:
    def dilations(rule: str) -> list[list[int]]:
        model = build_encoder("tu-resnet18", dilation=rule).model
        return [[b.conv1.dilation[0], b.conv2.dilation[0]] for layer in (model.layer3, model.layer4) for b in layer]

    assert dilations("timm") == [[1, 2], [2, 2], [2, 4], [4, 4]]
    assert dilations("mmsegmentation") == [[1, 1], [2, 1], [2, 1], [4, 1]]


def test_an_unreachable_address_is_seen_as_such() -> None:
    assert not hub_weights._reachable("http://127.0.0.1:9")


def saved(folder: Path, kind: str) -> tuple[Path, nn.Module]:
    """An encoder's weights in one of the wrappers that toolboxes write."""
    torch.manual_seed(8)
    source = build_encoder(SMALL).model
    tensors = {name: tensor.contiguous() for name, tensor in source.state_dict().items()}
    path = folder / f"weights.{kind.split('-')[0]}"
    if kind == "safetensors":
        save_file(tensors | {"fc.weight": torch.zeros(10, 96)}, path)
    elif kind == "pth-mmseg":
        torch.save({"meta": {"epoch": 3}, "state_dict": {f"backbone.{k}": v for k, v in tensors.items()}}, path)
    else:
        torch.save({f"module.{k}": v for k, v in tensors.items() if "num_batches" not in k}, path)
    return path, source


@pytest.mark.parametrize("kind", ["safetensors", "pth-mmseg", "pth-parallel"])
def test_a_local_file_is_loaded_from_any_wrapper(tmp_path: Path, kind: str) -> None:
    path, source = saved(tmp_path, kind)
    torch.manual_seed(0)
    loaded = build_encoder(SMALL, path).model
    assert all(torch.equal(a, b) for a, b in zip(source.parameters(), loaded.parameters(), strict=True))


def test_efficientnet_by_its_older_names_is_the_same_network(tmp_path: Path) -> None:
    """The older names are assigned in the order of the forward pass, so that the test shares no table with the code."""
    encoder = build_encoder("tu-tf_efficientnet_lite0").model
    state = encoder.state_dict()
    first = ["_depthwise_conv", "_bn1", "_project_conv", "_bn2"]
    layers = ["_conv_stem", "_bn0"]
    for block in range(16):
        names = first if block == 0 else ["_expand_conv", "_bn0", *first]
        layers += [f"_blocks.{block}.{name}" for name in names]
    modules = list(dict.fromkeys(key.rpartition(".")[0] for key in state))
    assert len(modules) == len(layers)
    renamed = dict(zip(modules, layers, strict=True))
    older = {f"{renamed[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}": tensor for key, tensor in state.items()}
    older |= {"_conv_head.weight": torch.zeros(3), "_bn1.weight": torch.zeros(3), "_fc.weight": torch.zeros(3)}
    torch.save(older, tmp_path / "lite0.pth")
    loaded = build_encoder("tu-tf_efficientnet_lite0", tmp_path / "lite0.pth").model.state_dict()
    assert all(torch.equal(loaded[key], tensor) for key, tensor in state.items())


def test_a_file_of_another_encoder_is_refused(tmp_path: Path) -> None:
    path, _ = saved(tmp_path, "safetensors")
    with pytest.raises(ArtifactError, match=r"lacks .* tensors"):
        build_encoder("tu-test_byobnet", path)


def test_a_tensor_of_another_shape_is_named(tmp_path: Path) -> None:
    path, source = saved(tmp_path, "safetensors")
    tensors = {name: tensor.contiguous() for name, tensor in source.state_dict().items()}
    save_file(tensors | {"bn1.weight": torch.zeros(1, 2, 3)}, path)
    with pytest.raises(ArtifactError, match=r"bn1\.weight has shape \(1, 2, 3\)"):
        build_encoder(SMALL, path)


class Payload:
    """Would create a file if a weights file were allowed to run code."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.trace,)


def test_code_in_a_weights_file_is_not_run(tmp_path: Path) -> None:
    path, trace = tmp_path / "evil.pth", tmp_path / "trace"
    torch.save({"conv1.weight": Payload(trace)}, path)
    with pytest.raises(ArtifactError, match="contains more than tensors"):
        build_encoder(SMALL, path)
    assert not trace.exists()


@pytest.mark.parametrize("content", [b"", b"not weights at all"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_broken_file_is_an_error(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="cannot be read"):
        build_encoder(SMALL, path)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no such file"):
        build_encoder(SMALL, tmp_path / "none.pth")
