"""Overlays of the report page: photo, truth and prediction of a few images."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from isoclock.files import regular
from isoclock.grid.cells import Cell
from isoclock.grid.layout import Layout
from isoclock.report import format
from isoclock.report.collect import FINISHED, CellRow, Study

IMAGES_PER_PAIR = 3
MAX_OVERLAY_BYTES = 12 << 20  # of all overlays on the page, which says how many are left out


def overlay_blocks(study: Study) -> tuple[list[dict[str, Any]], int]:
    """For each pair the same few images for every method (first finished seed, largest compute budget) as data URIs.

    Returns the blocks, and the number of overlays left out because of the size limit.
    """
    blocks, left_out, used = [], 0, 0
    for dataset, pair in study.pairs:
        shown: dict[str, list[dict[str, str]]] = {}
        chosen = _cells_to_show(study.of_pair(dataset, pair), study.results)
        names = list(dict.fromkeys(path.name for _, paths in chosen for path in paths))[:IMAGES_PER_PAIR]
        for name in names:
            for row, paths in chosen:
                for path in (path for path in paths if path.name == name):
                    content = regular(path).read_bytes()
                    if used + len(content) > MAX_OVERLAY_BYTES:
                        left_out += 1
                        continue
                    used += len(content)
                    caption = f"{row.method} · seed {row.seed} · {format.percent(row.miou)} % mIoU over the whole split"
                    source = "data:image/png;base64," + base64.b64encode(content).decode()
                    shown.setdefault(Path(name).stem, []).append({"caption": caption, "source": source})
        if shown:
            blocks.append({"name": f"{dataset} / {pair}, {chosen[0][0].budget}", "images": shown})
    return blocks, left_out


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
