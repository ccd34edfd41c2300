"""Overlays of the report page: photo, label and predictions of a few images, each picture once."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from isoclock.files import regular
from isoclock.grid.cells import Cell
from isoclock.grid.layout import Layout
from isoclock.records.document import read
from isoclock.records.index import Index
from isoclock.report import format
from isoclock.report.collect import FINISHED, CellRow, Study
from isoclock.scoring.overlays import IGNORED_COLOUR, split_panels

IMAGES_PER_DATASET = 3
MAX_OVERLAY_BYTES = 12 << 20  # of all pictures on the page, which says how many are left out
_WRONG = (213, 94, 0)


class _Embedded:
    """Turns pictures into data URIs until the page has `MAX_OVERLAY_BYTES` of them."""

    def __init__(self) -> None:
        self.used, self.left_out = 0, 0

    def uri(self, content: bytes, kind: str) -> str | None:
        if self.used + len(content) > MAX_OVERLAY_BYTES:
            self.left_out += 1
            return None
        self.used += len(content)
        return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def overlay_blocks(study: Study) -> tuple[list[dict[str, Any]], int]:
    """For each data set the same few images for every method (first finished seed, largest compute budget) as data URIs.

    Photo and label of an image are taken from the first of its overlays. Returns the blocks, and the number of pictures left
    out because of the size limit.
    """
    blocks, embedded = [], _Embedded()
    for dataset in dict.fromkeys(dataset for dataset, _ in study.pairs):
        pairs = [pair for of, pair in study.pairs if of == dataset]
        chosen = [found for pair in pairs for found in _cells_to_show(study.of_pair(dataset, pair), study.results)]
        names = list(dict.fromkeys(path.name for _, paths in chosen for path in paths))[:IMAGES_PER_DATASET]
        images = [_image(name, chosen, _teachers(study, dataset, pairs), len(pairs) > 1, embedded) for name in names]
        images = [image for image in images if image["layers"]]
        if images:
            options = {
                layer["of"]: layer["name"]
                for image in images
                for layer in image["layers"]
                if layer["view"] == "student"
            }
            views = [
                view
                for view in ("photo", "label", "teacher", "student", "errors")
                if any(layer["view"] == view for image in images for layer in image["layers"])
            ]
            name = f"{dataset}, {', '.join(dict.fromkeys(row.budget for row, _ in chosen))}"
            blocks.append(
                {"name": name, "images": images, "students": options, "views": views, "legend": _legend(study, dataset)}
            )
    return blocks, embedded.left_out


def _image(
    name: str,
    chosen: Sequence[tuple[CellRow, list[Path]]],
    teachers: dict[str, Path],
    several_pairs: bool,
    embedded: _Embedded,
) -> dict[str, Any]:
    """One image: its layers, each with what it shows (`view`) and whose it is (`of`, empty for photo and label)."""
    layers: list[dict[str, Any]] = []
    title = Path(name).stem

    def add(view: str, of: str, whose: str, content: bytes, kind: str, caption: str) -> None:
        if (source := embedded.uri(content, kind)) is not None:
            layers.append({"view": view, "of": of, "name": whose, "source": source, "caption": caption})

    for row, paths in chosen:
        for path in (path for path in paths if path.name == name):
            photo, label, predicted = _panels(path)
            if not layers:
                add("photo", "", "", _jpeg(photo), "jpeg", f"Photo {title}")
                add("label", "", "", _png(label), "png", f"Label of {title}; ignored pixels are dark")
            of, whose = f"{row.pair}/{row.method}", f"{row.pair}: {row.method}" if several_pairs else row.method
            score = f"{row.method}, seed {row.seed}, {format.percent(row.miou)} % mIoU over the whole split"
            add("student", of, whose, _png(predicted), "png", f"Student: {score}")
            wrong, scored = _errors(label, predicted)
            share = format.percent(wrong.sum() / scored if scored else None)
            content = _mask(wrong)
            add(
                "errors",
                of,
                whose,
                content,
                "png",
                f"Errors: {row.method}, seed {row.seed}, {share} % of the scored pixels",
            )
    for pair, folder in teachers.items():
        if layers and (folder / name).is_file():
            add("teacher", f"{pair}/", "", _png(_panels(folder / name)[2]), "png", f"Teacher of {pair}")
    return {"name": title, "layers": layers}


def _panels(path: Path) -> list[NDArray[np.uint8]]:
    with Image.open(regular(path)) as picture:
        return split_panels(np.asarray(picture.convert("RGB")))


def _errors(label: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> tuple[NDArray[np.bool_], int]:
    """Which pixels are wrong, and how many are scored."""
    scored = (label != np.array(IGNORED_COLOUR, dtype=np.uint8)).any(-1)
    return (label != predicted).any(-1) & scored, int(scored.sum())


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=88)
    return out.getvalue()


def _png(pixels: NDArray[np.uint8]) -> bytes:
    """A label map as PNG, with a palette where it has at most 256 colours."""
    out = io.BytesIO()
    colours, numbers = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True)
    picture = Image.fromarray(pixels)
    if len(colours) <= 256:
        picture = Image.frombytes("P", picture.size, numbers.astype(np.uint8).tobytes())
        picture.putpalette(colours.astype(np.uint8).tobytes())
    picture.save(out, "PNG", optimize=True)
    return out.getvalue()


def _mask(wrong: NDArray[np.bool_]) -> bytes:
    """Wrong pixels in one colour, all others transparent."""
    out = io.BytesIO()
    picture = Image.frombytes("P", wrong.shape[::-1], wrong.astype(np.uint8).tobytes())
    picture.putpalette([0, 0, 0, *_WRONG])
    picture.save(out, "PNG", optimize=True, transparency=bytes([0, 255]))
    return out.getvalue()


def _legend(study: Study, dataset: str) -> list[tuple[str, str]]:
    """(class, colour) of a data set; empty where its index is not among the results."""
    path = Layout(study.results).prepared_index(dataset)
    if not path.is_file():
        return []
    index = read(path, Index, f"prepare {dataset}")
    return [
        (name, "#{:02x}{:02x}{:02x}".format(*colour)) for name, colour in zip(index.classes, index.palette, strict=True)
    ]


def _teachers(study: Study, dataset: str, pairs: Sequence[str]) -> dict[str, Path]:
    """The folder of each pair's teacher's overlays, where there is one."""
    layout, found = Layout(study.results), {}
    for pair in pairs:
        if (teacher := study.teachers.get((dataset, pair))) is not None:
            folder = layout.teacher_scores(teacher.scores.dataset, teacher.model).overlays
            if folder.is_dir():
                found[pair] = folder
    return found


def _cells_to_show(rows: Sequence[CellRow], results: Path) -> list[tuple[CellRow, list[Path]]]:
    pictured: dict[str, dict[str, tuple[CellRow, list[Path]]]] = {}
    for row in rows:
        overlays = Layout(results).student_scores(Cell.parse(row.path)).overlays
        paths = sorted(overlays.glob("*.png")) if row.status == FINISHED else []
        if paths:
            pictured.setdefault(row.budget, {}).setdefault(row.method, (row, paths))
    steps = {row.budget: (row.protocol == "compute", row.planned_anchor_steps or 0) for row in rows}
    best = max(pictured, key=lambda budget: steps[budget], default=None)
    return list(pictured[best].values()) if best else []
