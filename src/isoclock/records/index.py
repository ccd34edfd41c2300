"""index.json of a prepared data set, and the list of samples that each split has."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from isoclock.records.document import Document, Part
from isoclock.records.parts import Number
from isoclock.schema import Count, NonNegative, Share

Byte = Annotated[int, Field(ge=0, le=255, strict=True)]


class PackedFile(Part):
    """One file of a split."""

    file: str
    bytes: Number
    sha256: str


class Storage(Part):
    """How images are stored. `quality` is that of JPEG."""

    images: Literal["raw", "jpeg"]
    quality: Count | None = Field(None, exclude_if=lambda value: value is None)


class Split(Part):
    """One split: its files by kind (images, samples, and labels if it has any) and sums over them."""

    images: Number
    files: dict[str, PackedFile]
    mean_rgb: list[NonNegative]  # 0..255
    void_pixels: Number
    class_pixels: list[Number]
    class_frequency: list[Share]
    class_images: list[Number]

    @model_validator(mode="after")
    def _has_images_and_samples(self) -> Split:
        for kind in ("images", "samples"):
            if kind not in self.files:
                raise ValueError(f"files.{kind}: missing")
        return self


class Verification(Part):
    """What `isoclock prepare` checked."""

    pairs: Number
    checked: list[str]
    counts: dict[str, Count]
    left_out: dict[str, str]
    accepted_damaged: list[str] | None = Field(None, exclude_if=lambda value: value is None)  # samples
    problems: Number
    raw_values: list[Byte]


class Index(Document):
    """`index.json` of a prepared data set. It does not depend on the version of the protocol."""

    schema_: Literal[2] = Field(alias="schema")
    dataset: str
    reader: str
    classes: list[str] = Field(min_length=1)
    palette: list[tuple[Byte, Byte, Byte]]
    ignore: Byte
    resize: tuple[Count, Count] | None  # pixels (height, width)
    storage: Storage
    splits: dict[str, Split]
    verification: Verification

    @model_validator(mode="after")
    def _lists_are_of_classes(self) -> Index:
        for name, split in self.splits.items():
            for key in ("class_pixels", "class_frequency", "class_images"):
                if len(getattr(split, key)) != len(self.classes):
                    raise ValueError(f"splits.{name}.{key}: must have one value per class")
        return self


class Samples(Part):
    """`SPLIT.samples.json`: name, size in pixels (height, width), label and stored bytes of each image, in order."""

    names: list[str]
    sizes: list[tuple[Count, Count]]
    labelled: list[bool]
    image_bytes: list[Number]

    @model_validator(mode="after")
    def _are_equally_long(self) -> Samples:
        if len({len(self.names), len(self.sizes), len(self.labelled), len(self.image_bytes)}) > 1:
            raise ValueError("names, sizes, labelled, image_bytes: must be equally long")
        return self
