"""Load an encoder's weights from a local file, with or without the wrappers and prefixes of common toolboxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from isoclock.errors import ArtifactError
from isoclock.models.tensor_files import read_tensors

_PREFIXES = ("module.", "backbone.", "encoder.", "model.")
_SHOWN = 3
# efficientnet-pytorch's layers (model.py of lukemelas/EfficientNet-PyTorch) -> timm's (_efficientnet_blocks.py).
_STEM = {"_conv_stem": "conv_stem", "_bn0": "bn1"}
_PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_EXPANDED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


# The deep stem of a ResNet in CIRKD (models/base_models/resnet.py) -> timm.
_CIRKD_STEM = {
    "conv1": "conv1.0",
    "bn1": "conv1.1",
    "conv2": "conv1.3",
    "bn2": "conv1.4",
    "conv3": "conv1.6",
    "bn3": "bn1",
}


def load_encoder_weights(encoder: nn.Module, path: Path) -> None:
    """Load a .safetensors or .pth file into a timm feature extractor. Only tensors are read: no code in the file is run.

    Unwraps {"state_dict": ...}, strips prefixes such as "module." and "backbone.", ignores tensors that the encoder does not
    have (a classifier's), and accepts the layer names of mmsegmentation (ResNetV1c), of CIRKD (deep stem) and of the package
    efficientnet-pytorch. Raises ArtifactError if the file is missing or unreadable, lacks a tensor, or has a tensor of another
    shape.
    """
    given = deep_stem_as_in_timm(_without_prefixes(read_tensors(path).tensors))
    wanted = encoder.state_dict()
    if "_conv_stem.weight" in given and "_conv_stem.weight" not in wanted:
        given = _timm_names(given, [key for key in wanted if key.startswith("blocks.")])
    missing = [key for key in wanted if key not in given and not key.endswith("num_batches_tracked")]
    if missing:
        raise ArtifactError(
            f"{path}: lacks {len(missing)} of the encoder's {len(wanted)} tensors ({', '.join(missing[:_SHOWN])} ...);"
            " give a file of this encoder whose layers are named as in timm"
        )
    if unlike := [key for key in wanted if key in given and given[key].shape != wanted[key].shape]:
        key = unlike[0]
        raise ArtifactError(
            f"{path}: {key} has shape {tuple(given[key].shape)}, in the encoder {tuple(wanted[key].shape)}"
            f" ({len(unlike)} such tensors); give a file of this encoder"
        )
    encoder.load_state_dict({key: given[key] for key in wanted if key in given}, strict=False)


def deep_stem_as_in_timm(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a ResNet with the deep stem of mmsegmentation (`stem.0` to `stem.7`) or CIRKD renamed to timm's names."""
    names = {f"stem.{number}": f"conv1.{number}" for number in range(7)} | {"stem.7": "bn1"}
    if "conv3.weight" in given:
        names |= _CIRKD_STEM
    return {
        f"{names.get(layer, layer)}.{last}": given[name] for name in given for layer, _, last in [name.rpartition(".")]
    }


def _without_prefixes(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    plain = {}
    for key, tensor in tensors.items():
        name = key
        while prefix := next((prefix for prefix in _PREFIXES if name.startswith(prefix)), None):
            name = name.removeprefix(prefix)
        plain[name] = tensor
    return plain


def _timm_names(given: Mapping[str, Tensor], block_keys: Sequence[str]) -> dict[str, Tensor]:
    """EfficientNet's tensors, renamed from efficientnet-pytorch to timm.

    That package numbers the blocks of the whole network, timm those of each stage. timm numbers the batch norms of a block in
    the order of the forward pass; in the other package number 0 is that of the expansion, which blocks of the first stage lack.
    """
    blocks = list(dict.fromkeys(".".join(key.split(".")[:3]) for key in block_keys))
    expanded = {key.split(".")[1] for key in given if "._expand_conv." in key}
    named = {}
    for key, tensor in given.items():
        parts = key.split(".")
        if parts[0] == "_blocks" and int(parts[1]) < len(blocks):
            layers = _EXPANDED if parts[1] in expanded else _PLAIN
            key = ".".join([blocks[int(parts[1])], layers.get(parts[2], parts[2]), *parts[3:]])
        elif parts[0] in _STEM:
            key = ".".join([_STEM[parts[0]], *parts[1:]])
        named[key] = tensor
    return named
