"""Encoders from timm (`tu-<timm name>` in segmentation-models-pytorch), dilated, and their initial weights.

An architecture that takes another kind of encoder builds it in its own file.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, cast

from torch import nn

from isoclock.errors import ParamsError, UserError
from isoclock.models.encoder_weights import load_encoder_weights
from isoclock.models.hub_weights import RANDOM, hub_file, hub_name

STEMS: dict[str, dict[str, Any]] = {
    "own": {},
    "plain": {"stem_width": 64, "stem_type": ""},
    "deep": {"stem_width": 32, "stem_type": "deep"},
    "deep64": {"stem_width": 64, "stem_type": "deep"},
}
"""Arguments of timm's ResNet for each stem; `own` is that of the encoder as timm defines it."""

_WIDTHS = {"plain": [64], "deep": [32, 32, 64], "deep64": [64, 64, 128]}


class RandomWeightsWarning(UserWarning):
    """An encoder starts from random weights: fine for a demo or a test, far below published numbers in a study."""


def build_encoder(
    name: str,
    weights: str | Path | None = None,
    *,
    output_stride: int = 8,
    stem: str = "own",
    dilation: str = "timm",
) -> nn.Module:
    """An encoder that maps (B, 3, H, W) to its stages, the deepest at `output_stride`.

    `weights`: a full tag of timm (resnet18.tv_in1k) or "imagenet" for timm's default tag, from the Hugging Face hub or its
    cache; "random" (with a warning); the path of a local .safetensors or .pth file; or None if the caller loads a whole
    segmenter later. `weights_file` of the result is the file that was read, or None.

    `stem`, of a ResNet: "plain" is one 7x7 convolution; "deep" is three 3x3 convolutions of 32, 32 and 64 channels
    (ResNet-C, mmsegmentation's v1c); "deep64" has 64, 64 and 128 (ResNet-S, CIRKD's v1s); "own" is timm's of that name.

    Dilations are contracted: stage 3 has 2 and stage 4 has 4, the first convolution of a stage half of that. `dilation` says
    what the second 3x3 convolution of a basic block (as of R18) has: 1 in "mmsegmentation", the full amount of its stage in
    "timm", whose rule CIRKD has too. Parameters and operations are the same, outputs are not. Other blocks do not differ.

    Raises ParamsError for names that do not exist and encoders that cannot have that stride or stem, UserError if the hub is
    out of reach, ArtifactError if a file does not fit.
    """
    if not name.startswith("tu-"):
        raise ParamsError(f"encoder: {name!r}: only timm's encoders can be dilated; write 'tu-{name}' if timm has it")
    fetched = None if weights is None else hub_name(name, str(weights))
    file = None if fetched is None else hub_file(fetched)
    # timm ignores what it does not find in the file; with a stem that is not its own, every tensor has to be there.
    by_timm = file if stem == "own" else None
    try:
        built = _make_encoder(f"tu-{fetched}" if fetched else name, by_timm, output_stride, STEMS[stem])
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise _encoder_problem(name, output_stride, error) from error
    stride = built.model.feature_info.reduction()[-1]
    if stride != output_stride:
        raise ParamsError(f"encoder: {name!r}: has output stride {stride}, not {output_stride}; choose another encoder")
    if stem != "own" and _stem_widths(built.model) != _WIDTHS[stem]:
        raise ParamsError(f"stem: {stem!r}: {name} does not have this stem; it is for ResNets, write 'own'")
    if dilation == "mmsegmentation":
        _undilate_second(built.model)
    if weights == RANDOM:
        warnings.warn(
            f"{name}: starts from random weights; for a study set `weights:` to a tag of timm or to a file",
            RandomWeightsWarning,
            stacklevel=2,
        )
    elif weights is not None and by_timm is None:
        file = file or Path(weights)
        load_encoder_weights(built.model, file)
    built.weights_file = file
    return cast("nn.Module", built)


def _make_encoder(name: str, file: Path | None, output_stride: int, stem: dict[str, Any]) -> Any:
    # Imported here: smp and timm (with torchvision) take 2 s, which users of the losses alone need not wait for.
    from segmentation_models_pytorch.encoders import get_encoder

    source = {} if file is None else {"pretrained_cfg_overlay": {"file": str(file)}}
    return get_encoder(
        name,
        in_channels=3,
        depth=5,
        weights=None if file is None else True,
        output_stride=output_stride,
        **source,
        **stem,
    )


def _encoder_problem(name: str, output_stride: int, error: Exception) -> UserError:
    first_line = str(error).strip().split("\n")[0]
    return ParamsError(
        f"encoder: {name!r}: timm cannot build it at stride {output_stride} ({first_line}); choose another encoder"
    )


def _stem_widths(encoder: nn.Module) -> list[int]:
    """Channels of the convolutions before the first stage of a ResNet; empty for other encoders."""
    stem = getattr(encoder, "conv1", None)
    return [layer.out_channels for layer in stem.modules() if isinstance(layer, nn.Conv2d)] if stem is not None else []


def _undilate_second(encoder: nn.Module) -> None:
    from timm.models.resnet import BasicBlock

    for block in encoder.modules():
        if isinstance(block, BasicBlock):
            block.conv2.dilation = block.conv2.padding = (1, 1)
