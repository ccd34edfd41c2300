"""A segmenter is built from an entry of params/models.yaml: its architecture's name and parameters."""

from __future__ import annotations

import pytest
import torch

from isoclock.errors import ParamsError
from isoclock.models import architectures, build_segmenter
from isoclock.models.pspnet import PSPNet
from isoclock.models.trained import new_segmenter
from isoclock.params.schema import Model

SMALL = {"encoder": "tu-test_resnet", "head_channels": 8, "aux_channels": 4}


def test_architectures_are_found_by_file() -> None:
    facts = architectures()["pspnet"]
    assert (facts.class_name, facts.output_stride, facts.auxiliary_head) == ("PSPNet", 8, True)
    assert facts.strides({}) == {"logits": 8, "aux_logits": 8, "backbone": 8, "head": 8}
    with pytest.raises(ParamsError, match=r"unknown architecture 'unet'; choose from .*pspnet"):
        build_segmenter("unet", 5, **SMALL)


def test_classes_can_be_imported_from_the_package() -> None:
    import isoclock.models

    assert isoclock.models.PSPNet is PSPNet
    with pytest.raises(AttributeError, match="NoSuchNet"):
        _ = isoclock.models.NoSuchNet


def test_every_unfit_parameter_is_named() -> None:
    with pytest.raises(ParamsError) as caught:
        build_segmenter("pspnet", 5, head_channels=0, aux_channels=1.5, width=3)
    assert caught.value.problems == [
        "pspnet.head_channels: 0: must be at least 1",
        "pspnet.aux_channels: 1.5: must be an integer",
        "pspnet.width: 3: unknown parameter; choose from encoder, stem, dilation, pixels, head_channels, aux_channels, dropout, "
        "align_corners",
        "pspnet.encoder: missing; it has no default",
    ]


def test_an_entry_is_built_with_its_parameters_and_the_defaults_of_the_others() -> None:
    entry = Model(architecture="pspnet", params=SMALL, weights="random", provenance={"*": "ours"})
    torch.manual_seed(3)
    built = new_segmenter(entry, 5, initial=False)
    torch.manual_seed(3)
    by_hand = PSPNet(5, **SMALL, dropout=0.1)
    assert [str(module) for module in built.modules()] == [str(module) for module in by_hand.modules()]
    assert all(torch.equal(a, b) for a, b in zip(built.parameters(), by_hand.parameters(), strict=True))
