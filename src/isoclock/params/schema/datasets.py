"""Entries of params/datasets.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from isoclock.params.schema.base import Entry
from isoclock.params.schema.folder import Folder
from isoclock.params.variants import HeldOut
from isoclock.schema import Count, Name, OpenShare, Seed


def _is_none(value: object) -> bool:
    return value is None


class Dataset(Entry):
    """A data set on disk (params/datasets.yaml)."""

    reader: Name  # a file of src/isoclock/data/readers
    root: str  # folder of the raw data; the environment variable ISOCLOCK_ROOT_<DATASET> overrides it
    size: tuple[Count, Count] | None = None  # pixels (height, width) of packed images; none: not resized
    train: str  # name of the training split
    val: str  # name of the split that is scored
    images: dict[str, Count] = {}  # number of images by split, checked when packing; other splits are not counted
    storage: Literal["raw", "jpeg"] = "raw"  # packed images: decoded pixels, or JPEG decoded with each access
    # Images without labels: of a split of their own, or of `train`, or both. Stamps leave these keys out if they are not given.
    unlabelled: str | None = Field(None, exclude_if=_is_none)  # raw split of further images; its labels are not read
    labelled_images: Count | None = Field(None, exclude_if=_is_none)  # of `train`; the labels of all others are hidden
    labelled_seed: Seed | None = Field(None, exclude_if=_is_none)  # selects them; none: 0
    held_out: OpenShare | None = Field(
        None, exclude_if=_is_none
    )  # share of `train` that is scored; `val` is then `train` too
    held_out_seed: Seed | None = Field(None, exclude_if=_is_none)  # selects it; none: 0
    accept_damaged: list[str] | None = Field(None, exclude_if=_is_none)  # samples whose damaged JPEG images are packed
    white_16bit: Annotated[int, Field(gt=0, lt=1 << 16, strict=True)] | None = Field(
        None, exclude_if=_is_none
    )  # value of white in images with 16 bits; none: such images are refused
    max_pixels: Annotated[int, Field(gt=0, le=1 << 30, strict=True)] | None = Field(
        None, exclude_if=_is_none
    )  # of an image or label; larger ones are refused; none: 2 ** 26
    recipe: Name | None = Field(None, exclude_if=_is_none)  # section of training.yaml; none: the data set's own name
    folder: Folder | None = Field(None, exclude_if=_is_none)  # patterns, classes and splits of reader `folder`
    teacher_from: Name | None = None  # the data set that its teachers are trained on; none: itself

    @model_validator(mode="after")
    def _further_images(self) -> Dataset:
        if self.labelled_seed is not None and self.labelled_images is None:
            raise ValueError("labelled_seed selects the labelled_images, which are not given; remove it")
        if self.held_out_seed is not None and self.held_out is None:
            raise ValueError("held_out_seed selects the images of held_out, which is not given; remove it")
        if self.held_out is not None and self.val != self.train:
            raise ValueError(f"val is {self.val!r}, but held_out scores a part of train; set val to {self.train!r}")
        if self.unlabelled in (self.train, self.val):
            raise ValueError(
                f"unlabelled is {self.unlabelled!r}, the training or the validation split; name another split"
            )
        return self

    @model_validator(mode="after")
    def _counts_are_of_splits(self) -> Dataset:
        splits = {split for split in (self.train, self.val, self.unlabelled) if split is not None}
        if unknown := sorted(set(self.images) - splits):
            raise ValueError(f"images.{unknown[0]}: unknown split; choose from {', '.join(sorted(splits))}")
        return self

    @model_validator(mode="after")
    def _folder_is_of_its_reader(self) -> Dataset:
        if (self.reader == "folder") != (self.folder is not None):
            what = (
                "missing; add images, labels and classes" if self.folder is None else "is read by reader `folder` only"
            )
            raise ValueError(f"folder: {what} (docs/own-dataset.md)")
        shared = self.folder is not None and self.folder.val_share is not None
        if shared and self.train == self.val:
            raise ValueError(f"train and val are both {self.val!r}, but folder.val_share needs two names; change one")
        if shared and self.unlabelled is not None:
            raise ValueError(
                "unlabelled names a split, but folder.val_share splits all images into train and val; use labelled_images, "
                "or split by folder or lists"
            )
        return self

    def holding_out(self, name: str, held_out: HeldOut) -> Dataset:
        """This data set, which is called `name`, scored on a part of its training images; its teachers are those of the whole."""
        images = {split: count for split, count in self.images.items() if split != self.val}
        part = {"val": self.train, "images": images, "held_out": held_out.share, "held_out_seed": held_out.seed}
        return self.model_copy(update={**part, "teacher_from": self.teacher_from or name})

    @property
    def has_unlabelled(self) -> bool:
        """Whether it has training images without labels."""
        return self.unlabelled is not None or self.labelled_images is not None
