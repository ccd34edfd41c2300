"""COCO-Stuff (Caesar et al., CVPR 2018): 80 classes of things and 91 of stuff, in the versions 164k and 10k.

164k: splits `train2017` and `val2017`; train2017.zip, val2017.zip and stuffthingmaps_trainval2017.zip, packed or unpacked:
SPLIT/*.jpg and SPLIT/*.png, together or each in a folder of its own. 10k: splits `train` and `test`;
cocostuff-10k-v1.1.zip, packed or unpacked: images/*.jpg, annotations/*.mat and imageLists/SPLIT.txt.

Ids and names are those of labels.txt (https://github.com/nightrome/cocostuff @cad9456). PNG labels store id - 1, and 255 for
"unlabeled"; MATLAB labels store the id, and 0 for "unlabeled". Eleven ids have no annotations (its README), and are not
classes; the train ids are then those of mmsegmentation (tools/convert_datasets/coco_stuff164k.py and coco_stuff10k.py
@0df1188). Its palette has colours twice; colours here are those of the PASCAL VOC devkit for the id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from isoclock.data.readers.matlab import matrix
from isoclock.data.readers.reader import Reader, Sample, index_colour, match
from isoclock.labels import IGNORE

if TYPE_CHECKING:
    from collections.abc import Collection

    import numpy as np
    from numpy.typing import NDArray

    from isoclock.data.readers.rawtree import RawFile, RawTree

_NAMES = """
person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, street sign, stop sign,
parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, hat, backpack, umbrella, shoe,
eye glasses, handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard,
surfboard, tennis racket, bottle, plate, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli,
carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, mirror, dining table, window, desk, toilet, door, tv,
laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, blender, book, clock, vase,
scissors, teddy bear, hair drier, toothbrush, hair brush, banner, blanket, branch, bridge, building-other, bush, cabinet,
cage, cardboard, carpet, ceiling-other, ceiling-tile, cloth, clothes, clouds, counter, cupboard, curtain, desk-stuff, dirt,
door-stuff, fence, floor-marble, floor-other, floor-stone, floor-tile, floor-wood, flower, fog, food-other, fruit,
furniture-other, grass, gravel, ground-other, hill, house, leaves, light, mat, metal, mirror-stuff, moss, mountain, mud,
napkin, net, paper, pavement, pillow, plant-other, plastic, platform, playingfield, railing, railroad, river, road, rock,
roof, rug, salad, sand, sea, shelf, sky-other, skyscraper, snow, solid-other, stairs, stone, straw, structural-other, table,
tent, textile-other, towel, tree, vegetable, wall-brick, wall-concrete, wall-other, wall-panel, wall-stone, wall-tile,
wall-wood, water-other, waterdrops, window-blind, window-other, wood
"""
"""Names in order of id, from 1 on."""

_NOT_ANNOTATED = (
    *("blender", "desk", "door", "eye glasses", "hair brush", "hat", "mirror", "plate", "shoe", "street sign"),
    "window",
)
_IDS = {
    name: number
    for number, name in enumerate(_NAMES.strip().replace("\n", " ").split(", "), 1)
    if name not in _NOT_ANNOTATED
}
_SPLITS_164K, _SPLITS_10K = ("train2017", "val2017"), ("train", "test")


def _scan(root: RawTree, split: str) -> tuple[list[Sample], list[str]]:
    if split in _SPLITS_164K:
        image_files, label_files, list_file = f"{split}/*.jpg", f"{split}/*.png", None
        archives = f"{split}.zip and stuffthingmaps_trainval2017.zip"
    elif split in _SPLITS_10K:
        image_files, label_files, list_file = "images/*.jpg", "annotations/*.mat", f"imageLists/{split}.txt"
        archives = "cocostuff-10k-v1.1.zip"
    else:
        splits = ", ".join((*_SPLITS_164K, *_SPLITS_10K))
        return [], [f"{root}: reader coco_stuff has no split {split!r}; choose from {splits}"]
    images, labels = (_by_stem(root, pattern) for pattern in (image_files, label_files))
    labels = {name: path for name, path in labels.items() if not name.endswith("_labelTrainIds")}  # of mmsegmentation
    names = images.keys() | labels.keys()
    if list_file is not None:
        lists = root.holding(list_file).glob(list_file)
        names = {
            line.strip() for file in lists for line in file.read_bytes().decode("ascii", "replace").split("\n")
        } - {""}
    needed: dict[str, Collection[str]] = {image_files: images, label_files: labels}
    needed |= {} if list_file is None else {list_file: names}
    if missing := [pattern for pattern, found in needed.items() if not found]:
        return [], [f"{root}/{pattern}: no such files; put {archives} there" for pattern in missing]
    samples, problems = match(*({name: found[name] for name in names & found.keys()} for found in (images, labels)))
    lost = sorted(names - images.keys() - labels.keys())
    return samples, problems + [
        f"{root}: {name} of split {split} is missing; put {archives} there again" for name in lost
    ]


def _by_stem(root: RawTree, pattern: str) -> dict[str, RawFile]:
    return {path.stem: path for path in root.holding(pattern).glob(pattern)}


def _of_10k(content: bytes) -> NDArray[np.uint8]:
    return matrix(content, "S") - 1  # unsigned: 0 becomes 255


READER = Reader(
    name="coco_stuff",
    classes=tuple(_IDS),
    palette=tuple(index_colour(number) for number in _IDS.values()),
    raw_to_train={**{number - 1: train for train, number in enumerate(_IDS.values())}, 255: IGNORE},
    scan=_scan,
    from_matlab=_of_10k,
)
