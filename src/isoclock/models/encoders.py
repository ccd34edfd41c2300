"""Encoders from timm (`tu-<timm name>` in segmentation-models-pytorch), dilated, and their initial weights.

An architecture that takes another kind of encoder builds it in its own file.
"""

from __future__ import annotations

import os
import urllib.error
import urllib.request
import warnings
from pathlib import Path
from typing import Any, cast

from torch import nn

from isoclock.errors import ParamsError, UserError
from isoclock.models.encoder_weights import load_encoder_weights

RANDOM = "random"
IMAGENET = "imagenet"
_PROBE_S = 5.0


class RandomWeightsWarning(UserWarning):
    """An encoder starts from random weights: fine for a demo or a test, far below published numbers in a study."""


def build_encoder(name: str, weights: str | Path | None = None, *, output_stride: int = 8) -> nn.Module:
    """An encoder that maps (B, 3, H, W) to its stages, the deepest at `output_stride`.

    `weights`: "imagenet" (timm's, from the Hugging Face hub or its cache), "random" (with a warning), the path of a local
    .safetensors or .pth file, or None if the caller loads a whole segmenter later. Raises ParamsError for names that do not
    exist and encoders that cannot have that stride, UserError if the hub is out of reach, ArtifactError if a file does not fit.

    Dilations follow mmsegmentation's contract_dilation: stage 3 has 2 and stage 4 has 4, their first blocks half of
    that. (In a basic block, as of R18, timm dilates the second convolution too, by the stage's full amount;
    mmsegmentation never dilates a second convolution. Parameters and operations are the same.)
    """
    if not name.startswith("tu-"):
        raise ParamsError(f"encoder: {name!r}: only timm's encoders can be dilated; write 'tu-{name}' if timm has it")
    if weights == IMAGENET:
        _check_hub(name)
    try:
        built = _make_encoder(name, weights == IMAGENET, output_stride)
    except (TypeError, ValueError, AssertionError, RuntimeError, OSError) as error:
        raise _encoder_problem(name, weights, output_stride, error) from error
    stride = built.model.feature_info.reduction()[-1]
    if stride != output_stride:
        raise ParamsError(f"encoder: {name!r}: has output stride {stride}, not {output_stride}; choose another encoder")
    if weights == RANDOM:
        warnings.warn(
            f"{name}: starts from random weights; for a study set `weights: imagenet` or give a file",
            RandomWeightsWarning,
            stacklevel=2,
        )
    elif weights is not None and weights != IMAGENET:
        load_encoder_weights(built.model, Path(weights))
    return cast("nn.Module", built)


def _make_encoder(name: str, pretrained: bool, output_stride: int) -> Any:
    # Imported here: smp and timm (with torchvision) take 2 s, which users of the losses alone need not wait for.
    from segmentation_models_pytorch.encoders import get_encoder

    return get_encoder(name, in_channels=3, depth=5, weights=pretrained or None, output_stride=output_stride)


def _encoder_problem(name: str, weights: str | Path | None, output_stride: int, error: Exception) -> UserError:
    first_line = str(error).strip().split("\n")[0]
    if weights == IMAGENET and isinstance(error, OSError):
        return UserError(f"weights: imagenet: {name} could not be fetched ({first_line}); {_WITHOUT_HUB}")
    return ParamsError(
        f"encoder: {name!r}: timm cannot build it at stride {output_stride} ({first_line}); choose another encoder"
    )


_WITHOUT_HUB = (
    "fetch it once on a machine with internet access and copy the cache (HF_HOME), or set `weights:` to a local .safetensors"
    " or .pth file of the encoder, or `weights: random`"
)


def _check_hub(name: str) -> None:
    """Raise within seconds if the hub is out of reach: its own client retries for 47 s (measured)."""
    import timm
    from huggingface_hub import constants, try_to_load_from_cache

    timm_name = name.removeprefix("tu-")
    if not timm.is_model(timm_name):
        raise ParamsError(f"encoder: {name!r}: timm has no model {timm_name!r}; `timm.list_models()` lists them")
    config = timm.get_pretrained_cfg(timm_name)
    if config is None or not config.has_weights:
        raise ParamsError(f"weights: imagenet: timm has none for {name!r}; give a local file, or set `weights: random`")
    cached = config.hf_hub_id and any(
        isinstance(try_to_load_from_cache(config.hf_hub_id, file), str)
        for file in ("model.safetensors", "pytorch_model.bin")
    )
    if not cached and (constants.HF_HUB_OFFLINE or not _reachable(os.environ.get("HF_ENDPOINT", constants.ENDPOINT))):
        raise UserError(
            f"weights: imagenet: {name} is not in the cache and {constants.ENDPOINT} is out of reach; {_WITHOUT_HUB}"
        )


def _reachable(address: str) -> bool:
    try:
        urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=_PROBE_S).close()
    except urllib.error.HTTPError:
        return True  # an error status is an answer
    except OSError:
        return False
    return True
