"""ADE20K as in the scene parsing challenge of 2016 (Zhou et al., CVPR 2017): 150 classes, images of any size.

Layout: images/<training|validation>/*.jpg and annotations/<same>/*.png, as in ADEChallengeData2016.zip. Raw label 0 is void
("other objects"); 1 to 150 are the classes in the order of objectInfo150.txt in the archive. Names are the first synonyms
there (https://github.com/CSAILVision/sceneparsing @4ce20bd), colours those of mmsegmentation (mmseg/datasets/ade.py
@088894b), where skyscraper and road have the same colour; here they differ by one, so that an overlay can be decoded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from isoclock.data.readers.listing import folded
from isoclock.data.readers.reader import Reader, Sample, match
from isoclock.labels import IGNORE

if TYPE_CHECKING:
    from isoclock.data.readers.rawtree import RawTree

_TABLE = """
787878 wall, b47878 building, 06e6e6 sky, 503232 floor, 04c803 tree, 787850 ceiling, 8c8c8c road, cc05ff bed,
e6e6e6 windowpane, 04fa07 grass, e005ff cabinet, ebff07 sidewalk, 96053d person, 787846 earth, 08ff33 door,
ff0652 table, 8fff8c mountain, ccff04 plant, ff3307 curtain, cc4603 chair, 0066c8 car, 3de6fa water, ff0633 painting,
0b66ff sofa, ff0747 shelf, ff09e0 house, 0907e6 sea, dcdcdc mirror, ff095c rug, 7009ff field, 08ffd6 armchair,
07ffe0 seat, ffb806 fence, 0aff47 desk, ff290a rock, 07ffff wardrobe, e0ff08 lamp, 6608ff bathtub, ff3d06 railing,
ffc207 cushion, ff7a08 base, 00ff14 box, ff0829 column, ff0599 signboard, 0633ff chest of drawers, eb0cff counter,
a09614 sand, 00a3ff sink, 8d8c8c skyscraper, fa0a0f fireplace, 14ff00 refrigerator, 1fff00 grandstand, ff1f00 path,
ffe000 stairs, 99ff00 runway, 0000ff case, ff4700 pool table, 00ebff pillow, 00adff screen door, 1f00ff stairway,
0bc8c8 river, ff5200 bridge, 00fff5 bookcase, 003dff blind, 00ff70 coffee table, 00ff85 toilet, ff0000 flower,
ffa300 book, ff6600 hill, c2ff00 bench, 008fff countertop, 33ff00 stove, 0052ff palm, 00ff29 kitchen island,
00ffad computer, 0a00ff swivel chair, adff00 boat, 00ff99 bar, ff5c00 arcade machine, ff00ff hovel, ff00f5 bus,
ff0066 towel, ffad00 light, ff0014 truck, ffb8b8 tower, 001fff chandelier, 00ff3d awning, 0047ff streetlight,
ff00cc booth, 00ffc2 television, 00ff52 airplane, 000aff dirt track, 0070ff apparel, 3300ff pole, 00c2ff land,
007aff bannister, 00ffa3 escalator, ff9900 ottoman, 00ff0a bottle, ff7000 buffet, 8fff00 poster, 5200ff stage,
a3ff00 van, ffeb00 ship, 08b8aa fountain, 8500ff conveyer belt, 00ff5c canopy, b800ff washer, ff001f plaything,
00b8ff swimming pool, 00d6ff stool, ff0070 barrel, 5cff00 basket, 00e0ff waterfall, 70e0ff tent, 46b8a0 bag,
a300ff minibike, 9900ff cradle, 47ff00 oven, ff00a3 ball, ffcc00 food, ff008f step, 00ffeb tank, 85ff00 trade name,
ff00eb microwave, f500ff pot, ff007a animal, fff500 bicycle, 0abed4 lake, d6ff00 dishwasher, 00ccff screen,
1400ff blanket, ffff00 sculpture, 0099ff hood, 0029ff sconce, 00ffcc vase, 2900ff traffic light, 29ff00 tray,
ad00ff ashcan, 00f5ff fan, 4700ff pier, 7a00ff crt screen, 00ffb8 plate, 005cff monitor, b8ff00 bulletin board,
0085ff shower, ffd600 radiator, 19c2c2 glass, 66ff00 clock, 5c00ff flag
"""
"""Colour (RGB, hexadecimal) and name of each class, in order of raw label from 1 on."""

_FOLDER = "ADEChallengeData2016"
_PREFIX = {"training": "ADE_train_", "validation": "ADE_val_", "testing": "ADE_test_"}
_IMAGE_ONLY = ("testing",)
"""Splits without published labels."""


def _classes() -> dict[str, tuple[int, int, int]]:
    found = {}
    for entry in _TABLE.strip().replace("\n", " ").split(", "):
        colour, _, name = entry.partition(" ")
        red, green, blue = bytes.fromhex(colour)
        found[name] = red, green, blue
    return found


def _scan(root: RawTree, split: str) -> tuple[list[Sample], list[str]]:
    root = root.holding(f"images/{split}/*.jpg")
    images = {path.stem: path for path in (root / "images" / split).glob("*.jpg")}
    labels = {path.stem: path for path in (root / "annotations" / split).glob("*.png")}
    file_problems = [
        f"{root / kind / split}: no {ending} files; put {_FOLDER}.zip, or its content, in {root}"
        for kind, ending, there in (
            ("images", "*.jpg", images),
            ("annotations", "*.png", labels or split in _IMAGE_ONLY),
        )
        if not there
    ]
    if file_problems:
        return [], file_problems
    prefix = _PREFIX.get(split, "ADE_")
    problems = [
        f"{path}: its name does not start with {prefix}, as in split {split}; move it to its split"
        for name, path in images.items()
        if not folded(name).startswith(folded(prefix))
    ]
    if split in _IMAGE_ONLY:
        return [Sample(name, path, None) for name, path in sorted(images.items())], problems
    samples, unmatched = match(images, labels)
    return samples, problems + unmatched


READER = Reader(
    name="ade20k",
    classes=tuple(_classes()),
    palette=tuple(_classes().values()),
    raw_to_train={0: IGNORE, **{raw: raw - 1 for raw in range(1, 151)}},
    scan=_scan,
)
