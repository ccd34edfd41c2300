"""PASCAL VOC 2012 (Everingham et al.): background and 20 classes; `train_aug` adds the labels of SBD (Hariharan et al., 2011).

Layout: VOCdevkit/VOC2012 as in VOCtrainval_11-May-2012.tar, unpacked, and for `train_aug` the folder `dataset` of SBD's
benchmark.tgz, unpacked (cls/*.mat), or VOC2012/SegmentationClassAug/*.png, which mmsegmentation makes of it.
Class names are those of mmsegmentation (mmseg/datasets/voc.py @1d341e5), colours those of the devkit. Value 255 is void.

`train_aug` is what mmsegmentation trains on (tools/convert_datasets/voc_aug.py @159db2f): the images of `train`, with the
labels of VOC, and those of SBD that are neither in `train` nor in `val`; 10,582 images.
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

_CLASSES = (
    *(
        "background",
        "aeroplane",
        "bicycle",
        "bird",
        "boat",
        "bottle",
        "bus",
        "car",
        "cat",
        "chair",
        "cow",
        "diningtable",
    ),
    *("dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
_IMAGES, _LABELS, _LISTS = "JPEGImages/*.jpg", "SegmentationClass/*.png", "ImageSets/Segmentation"
_SBD = "cls/*.mat"
_WITH_SBD = "train_aug"
_SPLITS = ("train", "val", "trainval", _WITH_SBD)


def _scan(root: RawTree, split: str) -> tuple[list[Sample], list[str]]:
    if split not in _SPLITS:
        return [], [f"{root}: reader voc has no split {split!r}; choose from {', '.join(_SPLITS)}"]
    voc = root.holding(f"{_LISTS}/val.txt")
    images, labels = _by_stem(voc, _IMAGES), _by_stem(voc, _LABELS)
    names = {name: _names(voc, name) for name in (("train", "val") if split == _WITH_SBD else (split,))}
    needed: dict[str, Collection[str]] = {_IMAGES: images, _LABELS: labels}
    needed |= {f"{_LISTS}/{name}.txt": found for name, found in names.items()}
    problems = [
        f"{voc}/{pattern}: no such files; unpack VOCtrainval_11-May-2012.tar in {root}"
        for pattern, found in needed.items()
        if not found
    ]
    if problems:
        return [], problems
    wanted = names.get(split, set())
    if split == _WITH_SBD:
        of_sbd = _by_stem(root.holding(_SBD), _SBD) or _by_stem(voc, "SegmentationClassAug/*.png")
        if not of_sbd:
            return [], [f"{root}/{_SBD}: no such files; unpack benchmark.tgz of SBD there"]
        further = of_sbd.keys() - names["train"] - names["val"]
        labels |= {name: of_sbd[name] for name in further}
        wanted = names["train"] | further
    samples, problems = match(*({name: found[name] for name in wanted & found.keys()} for found in (images, labels)))
    lost = sorted(wanted - images.keys() - labels.keys())
    return samples, problems + [
        f"{voc}: {name} of split {split} is missing; unpack the data set again" for name in lost
    ]


def _names(voc: RawTree, name: str) -> set[str]:
    files = voc.glob(f"{_LISTS}/{name}.txt")
    return {word for file in files for word in file.read_bytes().decode("ascii", "replace").split()}


def _by_stem(tree: RawTree, pattern: str) -> dict[str, RawFile]:
    return {path.stem: path for path in tree.glob(pattern)}


def _of_sbd(content: bytes) -> NDArray[np.uint8]:
    return matrix(content, "GTcls", "Segmentation")


READER = Reader(
    name="voc",
    classes=_CLASSES,
    palette=tuple(index_colour(index) for index in range(len(_CLASSES))),
    raw_to_train={**{index: index for index in range(len(_CLASSES))}, 255: IGNORE},
    scan=_scan,
    from_matlab=_of_sbd,
)
