"""Cityscapes (Cordts et al., CVPR 2016): 19 train classes out of 34 label ids.

Ids, train ids and colours are from `cityscapesscripts.helpers.labels`
(https://github.com/mcordts/cityscapesScripts); a test compares them with that package.
Layout: leftImg8bit/<split>/<city>/*_leftImg8bit.png and gtFine/<split>/<city>/*_gtFine_labelIds.png, in folders or in the
archives leftImg8bit_trainvaltest.zip, gtFine_trainvaltest.zip and leftImg8bit_trainextra.zip, packed or unpacked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from isoclock.data.readers.listing import folded
from isoclock.data.readers.reader import Reader, Sample, match
from isoclock.labels import IGNORE

if TYPE_CHECKING:
    from isoclock.data.readers.rawtree import RawFile, RawTree

_TRAINED: dict[int, tuple[str, tuple[int, int, int]]] = {
    7: ("road", (128, 64, 128)),
    8: ("sidewalk", (244, 35, 232)),
    11: ("building", (70, 70, 70)),
    12: ("wall", (102, 102, 156)),
    13: ("fence", (190, 153, 153)),
    17: ("pole", (153, 153, 153)),
    19: ("traffic light", (250, 170, 30)),
    20: ("traffic sign", (220, 220, 0)),
    21: ("vegetation", (107, 142, 35)),
    22: ("terrain", (152, 251, 152)),
    23: ("sky", (70, 130, 180)),
    24: ("person", (220, 20, 60)),
    25: ("rider", (255, 0, 0)),
    26: ("car", (0, 0, 142)),
    27: ("truck", (0, 0, 70)),
    28: ("bus", (0, 60, 100)),
    31: ("train", (0, 80, 100)),
    32: ("motorcycle", (0, 0, 230)),
    33: ("bicycle", (119, 11, 32)),
}
_RAW_VALUES = range(34)
"""Licence plates have id -1, which does not occur in labelIds files."""

_IMAGE_ONLY = ("train_extra",)
"""Splits without fine labels."""

_KNOWN_BAD = {"troisdorf_000000_000073": "of train_extra; published as a broken image, all black with one channel"}


def _scan(root: RawTree, split: str) -> tuple[list[Sample], list[str]]:
    images, problems = _files(root, f"leftImg8bit/{split}", "_leftImg8bit.png")
    if not images:
        where = root / "leftImg8bit" / split
        problems = [
            f"{where}: no <city>/*_leftImg8bit.png files; unpack Cityscapes there, or put its archives in {root}"
        ]
        return [], problems
    if split in _IMAGE_ONLY:
        return [Sample(name, path, None) for name, path in sorted(images.items())], problems
    labels, wrong = _files(root, f"gtFine/{split}", "_gtFine_labelIds.png")
    if not labels:
        where = root / "gtFine" / split
        problems = [
            f"{where}: no <city>/*_gtFine_labelIds.png files; unpack gtFine there, or put its archive in {root}"
        ]
        return [], problems
    samples, unmatched = match(images, labels)
    return samples, problems + wrong + unmatched


def _files(root: RawTree, folder: str, ending: str) -> tuple[dict[str, RawFile], list[str]]:
    found, problems = {}, []
    pattern = f"{folder}/*/*{ending}"
    for path in root.holding(pattern).glob(pattern):
        if folded(path.name).startswith(f"{folded(path.parent.name)}_"):
            found[path.name[: -len(ending)]] = path
        else:
            problems.append(
                f"{path}: its name does not start with its city, {path.parent.name}; move it to the folder of its city"
            )
    return found, problems


READER = Reader(
    name="cityscapes",
    classes=tuple(name for name, _ in _TRAINED.values()),
    palette=tuple(colour for _, colour in _TRAINED.values()),
    raw_to_train={raw: list(_TRAINED).index(raw) if raw in _TRAINED else IGNORE for raw in _RAW_VALUES},
    scan=_scan,
    known_bad=_KNOWN_BAD,
)
