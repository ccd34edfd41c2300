"""The classes of a checkpoint are compared with those of a data set by name."""

from __future__ import annotations

import pytest

from isoclock.data.readers.ade20k import READER as ADE20K
from isoclock.data.readers.cityscapes import READER as CITYSCAPES
from isoclock.errors import ArtifactError
from isoclock.models.class_order import class_order


def test_the_same_names_are_in_the_same_order() -> None:
    for reader in (CITYSCAPES, ADE20K):
        assert class_order(reader.classes, reader.classes, "x") == list(range(reader.num_classes))


def test_another_order_and_other_spellings_are_matched() -> None:
    assert class_order(["Sky ", "traffic_light", "road, route"], ["road", "traffic light", "sky"], "x") == [2, 1, 0]


def test_names_of_the_published_ade20k_checkpoints_are_ours() -> None:
    """nvidia/segformer-*-ade-* has two other spellings; lists of synonyms are as in objectInfo150.txt."""
    names = list(ADE20K.classes)
    names[7], names[89] = "bed ", "television receiver"
    assert class_order(names, ADE20K.classes, "x") == list(range(150))
    for place, synonyms in {
        58: "screen door, screen",
        63: "blind, screen",
        65: "toilet, can, commode, crapper, pot, potty, stool, throne",
        89: "television receiver, television, television set, tv",
        94: "land, ground, soil",
        99: "buffet, counter, sideboard",
        130: "screen, silver screen, projection screen",
    }.items():
        names[place] = synonyms
    assert class_order(names, ADE20K.classes, "x") == list(range(150))


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        (["road", "sky"], "has 2 classes, and the data set has 3"),
        (["road", "sky", "boat"], "'car' of the data set have no counterpart among 'boat' of the checkpoint"),
        (["lane, road", "sky", "street, road"], "class names differ"),
    ],
)
def test_other_classes_are_refused(theirs: list[str], message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        class_order(theirs, ["road", "sky", "car"], "x")
