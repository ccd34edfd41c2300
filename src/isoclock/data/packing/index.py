"""What the index of a prepared data set says of its splits: counts, class frequencies, files and digests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from isoclock.data.packing.pack import Packed, Packing
from isoclock.data.readers.reader import IGNORE, Reader
from isoclock.files import sha256_file, write_bytes


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
        "files": _files(split, mine, packing),
        "mean_rgb": [float(total) / max(1, pixels) for total in colours],
        "void_pixels": int(raw[reader.label_table == IGNORE].sum()),
        "class_pixels": per_class,
        "class_frequency": [count / trained for count in per_class],
        "class_images": in_images[: reader.num_classes].tolist(),
    }


def _files(split: str, mine: Sequence[Packed], packing: Packing) -> dict[str, Any]:
    """Names, lengths and digests of a split's files; what describes single samples is written to a separate file.

    This keeps the index small: Snakemake compares the content of inputs below 1 MB, and only the time of larger ones.
    """
    names = packing.names(split)
    samples = {
        "names": [one.name for one in mine],
        "sizes": [list(one.size) for one in mine],
        "labelled": [one.labelled for one in mine],
        "image_bytes": [one.image_bytes for one in mine],
    }
    write_bytes(packing.new / names["samples"], json.dumps(samples, sort_keys=True).encode() + b"\n")
    found = {}
    for kind in [kind for kind in names if (packing.new / names[kind]).is_file()]:
        path = packing.new / names[kind]
        digest = sha256_file(path) if kind == "samples" else packing.digest(split, kind)
        found[kind] = {"file": path.name, "bytes": path.stat().st_size, "sha256": digest}
    return found
