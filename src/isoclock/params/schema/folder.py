"""Section `folder` of an entry of params/datasets.yaml: a data set that needs no Python."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from isoclock.hints import choices
from isoclock.labels import ILLEGAL
from isoclock.schema import Seed

Stored = int | str
"""How a class is stored in a label: as a value of 0 to 255, or as a colour such as "#5aa03c"."""

SPLIT = "{split}"
"""The part of a pattern in which the name of a split is put."""

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_VALUE_OR_COLOUR = 'must be a value, 0 to 255, or a colour such as "#5aa03c" (in quotes), or a list of these'


def _pattern(pattern: Any) -> Any:
    if isinstance(pattern, str):
        parts = pattern.split("/")
        if "**" in pattern:
            raise ValueError("`**` is not supported; write one `*` for each folder")
        if "" in parts or ".." in parts or "\\" in pattern:
            raise ValueError("must be a path below `root`, such as images/*.jpg")
    return pattern


def _stored(given: Any) -> Any:
    stored = given if isinstance(given, list) else [given]
    for one in stored:
        fits = isinstance(one, int) and not isinstance(one, bool) and 0 <= one <= 255
        if not fits and not (isinstance(one, str) and _COLOUR.fullmatch(one)):
            raise ValueError(f"{one!r}: {_VALUE_OR_COLOUR}")
    return [one.lower() if isinstance(one, str) else one for one in stored]


def _classes(given: Any) -> Any:
    # As pairs, because the order is that of the train ids, and a stamp does not keep the order of a mapping.
    if isinstance(given, list) and all(isinstance(name, str) for name in given):
        if twice := [name for name, count in Counter(given).items() if count > 1]:
            raise ValueError(f"the class name {twice[0]!r} occurs twice; keep one")
        given = {name: value for value, name in enumerate(given)}
    if not isinstance(given, dict):
        return given
    found = []
    for name, stored in given.items():
        try:
            found.append((name, _stored(stored)))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return found


Pattern = Annotated[str, BeforeValidator(_pattern)]


class Folder(BaseModel):
    """Images and PNG labels that are found by patterns below `root`, and the classes of the labels.

    A `*` in a pattern stands for any part of a name. An image and a label with the same text for each `*` belong together.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: Pattern  # such as images/{split}/*.jpg; a pattern that ends in * finds PNG and JPEG files
    labels: Pattern  # such as masks/{split}/*.png
    classes: Annotated[list[tuple[str, list[Stored]]], BeforeValidator(_classes)] = Field(
        min_length=1, max_length=ILLEGAL - 1
    )  # in order of train id: name to values or colours; a list of names has the values 0, 1, ...
    void: Annotated[list[Stored], BeforeValidator(_stored)] = []  # values or colours of pixels that have no label
    colours: dict[str, str] | None = None  # of classes, for overlays; none: those of the labels, or a fixed list
    # One of three ways to split: `{split}` in `images`, or
    lists: Pattern | None = None  # files with one name of an image a line, such as lists/{split}.txt; or
    val_share: Annotated[float, Field(gt=0, lt=1, strict=True)] | None = (
        None  # share of the images that are split `val`
    )
    split_seed: Seed | None = None  # selects them; none: 0

    @property
    def stores_colours(self) -> bool:
        """Whether labels store colours instead of values."""
        return isinstance(self.classes[0][1][0], str)

    @model_validator(mode="after")
    def _patterns_fit_together(self) -> Folder:
        stars = self.images.count("*"), self.labels.count("*")
        if stars[0] != stars[1] or not stars[0]:
            raise ValueError(
                f"images has {stars[0]} `*` and labels has {stars[1]}; both need the same number, at least one, because an "
                "image belongs to the label with the same text for each `*`"
            )
        if self.images == self.labels:
            raise ValueError("images and labels are the same pattern; put them in two folders, or give two endings")
        if not self.labels.endswith((".png", "*")):
            raise ValueError(f"labels is {self.labels!r}; must end in .png or *, because labels are PNG files")
        return self

    @model_validator(mode="after")
    def _one_way_to_split(self) -> Folder:
        ways = {
            f"`{SPLIT}` in images": SPLIT in self.images,
            "lists": self.lists is not None,
            "val_share": self.val_share is not None,
        }
        given = [way for way, there in ways.items() if there]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            raise ValueError(f"needs one of {', '.join(ways)} to tell train from val, and has {found}")
        if self.lists is not None and (SPLIT not in self.lists or "*" in self.lists):
            raise ValueError(f"lists is {self.lists!r}; must have {SPLIT} and no *, such as lists/{SPLIT}.txt")
        if SPLIT in self.labels and SPLIT not in self.images:
            raise ValueError(f"labels has {SPLIT}, and images has not; remove it")
        if self.split_seed is not None and self.val_share is None:
            raise ValueError("split_seed selects the val_share, which is not given; remove it")
        return self

    @model_validator(mode="after")
    def _classes_can_be_told_apart(self) -> Folder:
        stored = [one for _, values in self.classes for one in values] + self.void
        if empty := [name for name, values in self.classes if not values or not name.strip()]:
            raise ValueError(f"classes.{empty[0]}: has no {'name' if not empty[0].strip() else 'value'}; add one")
        if len({type(one) for one in stored}) > 1:
            raise ValueError("classes and void have both values and colours; a label stores one of the two")
        if twice := [one for one, count in Counter(stored).items() if count > 1]:
            raise ValueError(f"classes and void have {twice[0]!r} twice; keep one")
        if len(stored) > ILLEGAL and self.stores_colours:
            raise ValueError(f"classes and void have {len(stored)} colours; at most {ILLEGAL} are supported")
        return self

    @model_validator(mode="after")
    def _colours_are_of_classes(self) -> Folder:
        names = [name for name, _ in self.classes]
        for name, colour in (self.colours or {}).items():
            if name not in names:
                raise ValueError(f"colours.{name}: unknown class; {choices(name, names)}")
            if not _COLOUR.fullmatch(colour):
                raise ValueError(f'colours.{name}: {colour!r}: must be a colour such as "#5aa03c"')
        for name in names if self.colours else ():
            if name not in (self.colours or {}):
                raise ValueError(f"colours.{name}: missing; give a colour for each class, or none")
        if twice := [one for one, count in Counter(map(str.lower, (self.colours or {}).values())).items() if count > 1]:
            raise ValueError(f"colours has {twice[0]!r} twice; choose another, so that overlays can be read")
        return self

    def stored(self) -> Iterator[tuple[Stored, int | None]]:
        """Each stored value or colour, with its train id; None for void."""
        for train, (_, values) in enumerate(self.classes):
            for one in values:
                yield one, train
        for one in self.void:
            yield one, None
