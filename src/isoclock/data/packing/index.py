"""What the index of a prepared data set says of its splits: counts, class frequencies, files and digests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from isoclock.labels import IGNORE

if TYPE_CHECKING:
    from isoclock.data.packing.pack import Packed, Packing
    from isoclock.data.readers.reader import Reader


def describe_split(reader: Reader, split: str, packed: Sequence[Packed], packing: Packing) -> dict[str, Any]:
    """The index entry of a split. Also writes its `.samples.json`, with names and sizes."""
    mine = [one for one in packed if one.split == split]
    pixels = sum(one.size[0] * one.size[1] for one in mine)
    raw, in_images = np.zeros(256, np.int64), np.zeros(256, np.int64)
    for one in mine:
        values = [int(value) for value in one.counts]
        for value in values:
            raw[value] += one.counts[str(value)]
        in_images[np.unique(reader.label_table[values])] += 1
    per_class = [int(raw[reader.label_table == train].sum()) for train in range(reader.num_classes)]
    trained = max(1, sum(per_class))
    colours = np.sum([one.rgb_sum for one in mine], axis=0) if mine else np.zeros(3)
    return {
        "images": len(mine),
        "files": packing.describe_files(split, mine),
        "mean_rgb": [float(total) / max(1, pixels) for total in colours],
        "void_pixels": int(raw[reader.label_table == IGNORE].sum()),
        "class_pixels": per_class,
        "class_frequency": [count / trained for count in per_class],
        "class_images": in_images[: reader.num_classes].tolist(),
    }
