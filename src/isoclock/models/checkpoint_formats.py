"""Checkpoints of other toolboxes that can be imported: names of their tensors, and what their networks need. No torch here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Renames = tuple[tuple[str, str], ...]
"""Regular expressions of the start of a name, and what replaces it. The first that matches counts."""


@dataclass(frozen=True)
class Format:
    """How a toolbox names the tensors of each architecture, and the parameters that its networks must have in ours.

    Names do not show a dilation, how maps are resized, or how images are normalised, so `needs` fixes them.
    """

    renames: Mapping[str, Renames]  # by architecture; "*": of every other
    needs: Mapping[str, Any] = field(default_factory=dict)
    folder: bool = (
        False  # of a folder that save_pretrained of transformers wrote, whose config.json says what is needed
    )


_MMSEGMENTATION: Renames = (
    (r"backbone\.stem\.7\.", "encoder.model.bn1."),
    (r"backbone\.stem\.", "encoder.model.conv1."),
    (r"backbone\.", "encoder.model."),
    (r"decode_head\.psp_modules\.(\d)\.1\.conv\.", r"pyramid.\1.1."),
    (r"decode_head\.psp_modules\.(\d)\.1\.bn\.", r"pyramid.\1.2."),
    (r"decode_head\.bottleneck\.conv\.", "bottleneck.0."),
    (r"decode_head\.bottleneck\.bn\.", "bottleneck.1."),
    (r"decode_head\.conv_seg\.", "classifier.1."),
    (r"auxiliary_head\.convs\.0\.conv\.", "auxiliary.0."),
    (r"auxiliary_head\.convs\.0\.bn\.", "auxiliary.1."),
    (r"auxiliary_head\.conv_seg\.", "auxiliary.4."),
)
_CIRKD_DEEP_STEM: Renames = (
    (r"pretrained\.conv1\.", "encoder.model.conv1.0."),
    (r"pretrained\.bn1\.", "encoder.model.conv1.1."),
    (r"pretrained\.conv2\.", "encoder.model.conv1.3."),
    (r"pretrained\.bn2\.", "encoder.model.conv1.4."),
    (r"pretrained\.conv3\.", "encoder.model.conv1.6."),
    (r"pretrained\.bn3\.", "encoder.model.bn1."),
)
_CIRKD: Renames = ((r"pretrained\.", "encoder.model."), (r"auxlayer\.block\.", "auxiliary."))
_CIRKD_PSPNET: Renames = (
    *_CIRKD,
    *(
        (rf"head\.psp\.conv{number + 1}\.{layer}\.", f"pyramid.{number}.{layer + 1}.")
        for number in range(4)
        for layer in (0, 1)
    ),
    (r"head\.block\.", "bottleneck."),
    (r"head\.classifier\.", "classifier.1."),
)
_CIRKD_DEEPLABV3: Renames = (
    *_CIRKD,
    (r"head\.aspp\.b0\.", "aspp.0."),
    (r"head\.aspp\.b([123])\.block\.", r"aspp.\1."),
    (r"head\.aspp\.b4\.gap\.", "aspp.4."),
    (r"head\.aspp\.project\.", "project."),
    (r"head\.block\.4\.", "classifier.1."),
    (r"head\.block\.", "bottleneck."),
)
_TORCHVISION: Renames = ((r"backbone\.", "encoder.model."), (r"aux_classifier\.", "auxiliary."))
_TORCHVISION_FCN: Renames = (*_TORCHVISION, (r"classifier\.4\.", "classifier.1."), (r"classifier\.", "bottleneck."))
_TORCHVISION_DEEPLABV3: Renames = (
    *_TORCHVISION,
    (r"classifier\.0\.convs\.", "aspp."),
    (r"classifier\.0\.project\.", "project."),
    (r"classifier\.1\.", "bottleneck.0."),
    (r"classifier\.2\.", "bottleneck.1."),
    (r"classifier\.4\.", "classifier.1."),
)

FORMATS: Mapping[str, Format] = {
    # PSPNet of mmsegmentation, ResNetV1c or ResNet.
    "mmsegmentation": Format(
        {"pspnet": _MMSEGMENTATION}, {"dilation": "mmsegmentation", "align_corners": False, "pixels": "imagenet"}
    ),
    # models/pspnet.py and models/deeplabv3.py of winycg/CIRKD @3514008.
    "cirkd": Format(
        {"pspnet": _CIRKD_PSPNET, "deeplabv3": _CIRKD_DEEPLABV3},
        {"dilation": "timm", "align_corners": True, "pixels": "caffe"},
    ),
    # torchvision.models.segmentation, with the auxiliary classifier.
    "torchvision": Format(
        {"deeplabv3": _TORCHVISION_DEEPLABV3, "fcn": _TORCHVISION_FCN}, {"stem": "plain", "pixels": "imagenet"}
    ),
    "transformers": Format({"mask2former": (), "segformer": (), "upernet": ()}, folder=True),
    # weights.safetensors of a teacher or student of this package.
    "isoclock": Format({"*": ((r"", ""),)}),
}


def formats_of(architecture: str) -> list[str]:
    """Formats that have networks of an architecture."""
    return [name for name, known in FORMATS.items() if architecture in known.renames or "*" in known.renames]


def format_problems(name: str, architecture: str, params: Mapping[str, Any]) -> list[str]:
    """What keeps a model with these complete `params` from being a network of the format `name`, as `key: problem`."""
    if name not in formats_of(architecture):
        return [
            f"checkpoint.format: {name!r}: not for {architecture}; choose from {', '.join(formats_of(architecture))}"
        ]
    return [
        f"params.{key}: {params[key]!r}: must be {value!r} for a checkpoint of format {name}"
        for key, value in FORMATS[name].needs.items()
        if key in params and params[key] != value
    ]


def our_names(form: str, architecture: str, names: Iterable[str]) -> dict[str, str]:
    """Our name of each tensor of a file, by its name there; those that have none are left out."""
    plain = {name: name.removeprefix("module.") for name in names}
    known = FORMATS[form].renames
    renames = known.get(architecture) or known["*"]
    if form == "cirkd" and "pretrained.conv3.weight" in plain.values():
        renames = (*_CIRKD_DEEP_STEM, *renames)
    found = {}
    for name, text in plain.items():
        for pattern, start in renames:
            if re.match(pattern, text):
                found[name] = re.sub(rf"^{pattern}", start, text, count=1)
                break
    return found
