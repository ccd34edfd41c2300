"""A study's students together with published ones: share of the teacher's mIoU, and size."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from isoclock.errors import ArtifactError
from isoclock.grid.cells import Cell
from isoclock.grid.layout import Layout
from isoclock.params.schema import Published
from isoclock.params.variants import the_one
from isoclock.report import format
from isoclock.report.collect import FINISHED, Study
from isoclock.report.summary import Summary
from isoclock.report.tables import csv_text, markdown_table

PUBLISHED_TITLES = (
    "method", "recipe", "undistilled mIoU %", "mIoU %", "teacher", "teacher mIoU %", "% of teacher", "student",
    "parameters (M)", "source", "caveat",
)  # fmt: skip
PUBLISHED_NOTE = (
    "Published rows have other recipes, teachers and hardware, and equal iterations at best; they are not comparable under "
    "this protocol. Undistilled: `none` at the same budget here, the source's own baseline there. Parameters "
    "include the auxiliary head, which is used in training alone."
)
HERE = "this study"
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True)
class PublishedRow:
    """One row: shares and mIoUs in 0..1, parameters as a number; None where unknown."""

    dataset: str
    pair: str
    method: str
    recipe: str
    undistilled: float | None
    miou: float | None
    miou_text: str
    teacher: str
    teacher_miou: float | None
    teacher_share: float | None
    student: str
    parameters: int | None
    source: str
    caveat: str

    def cells(self) -> list[str]:
        """The cells as text, in the order of PUBLISHED_TITLES."""
        size = format.NOTHING if self.parameters is None else f"{self.parameters / 1e6:.2f}"
        return [
            self.method, self.recipe, format.percent(self.undistilled, 2), self.miou_text, self.teacher,
            format.percent(self.teacher_miou, 2), format.percent(self.teacher_share), self.student, size, self.source,
            self.caveat,
        ]  # fmt: skip


def published_rows(
    study: Study, summaries: Sequence[Summary], published: Sequence[Published], dataset: str, pair: str
) -> list[PublishedRow]:
    """Rows of one pair: this study's scored ones, then the published ones of the same data set."""
    mine = [s for s in summaries if (s.first.dataset, s.first.pair) == (dataset, pair) and s.miou.mean is not None]
    teacher = study.teachers.get((dataset, pair))
    undistilled = the_one(list(dict.fromkeys(s.first.method for s in mine)), "none")
    plain = {s.first.budget: s.miou.mean for s in mine if s.first.method == undistilled}
    return [
        PublishedRow(
            dataset,
            pair,
            s.first.method,
            s.first.budget,
            plain.get(s.first.budget),
            s.miou.mean,
            format.points(s.miou),
            teacher.model if teacher else format.NOTHING,
            s.first.teacher_miou,
            s.teacher_share,
            pair,
            _student_parameters(study, s),
            HERE if not format.version_note(study.version) else f"{HERE}, protocol version {study.version}",
            f"n = {s.count(FINISHED)} of {len(s.rows)}" + (f"; {', '.join(s.marks)}" if s.marks else ""),
        )
        for s in mine
    ] + [_row_of(row, dataset, pair) for row in published if row.dataset == dataset and row.in_report]


def count_parameters(weights: Path) -> int | None:
    """Number of trained parameters in a safetensors file, from its header; None if there is no file.

    Batch statistics do not count. Raises ArtifactError if the header is damaged.
    """
    if not weights.is_file():
        return None
    try:
        with weights.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(min(size, weights.stat().st_size)))
        tensors = {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}
        return sum(math.prod(shape) for name, shape in tensors.items() if not name.endswith(_STATISTICS))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ArtifactError(
            f"{weights}: its header is damaged; `dvc pull` brings the file, or train it again"
        ) from None


def published_markdown(pairs: Mapping[tuple[str, str], Sequence[PublishedRow]]) -> str:
    """Every pair's rows as markdown."""
    words = [
        title not in PUBLISHED_TITLES[2:4] + PUBLISHED_TITLES[5:7] + PUBLISHED_TITLES[8:9] for title in PUBLISHED_TITLES
    ]
    parts = [
        f"## {dataset} / {pair}\n\n" + markdown_table(PUBLISHED_TITLES, [row.cells() for row in rows], words)
        for (dataset, pair), rows in pairs.items()
    ]
    return "\n".join([*parts, PUBLISHED_NOTE, ""])


def published_csv(pairs: Mapping[tuple[str, str], Sequence[PublishedRow]]) -> str:
    """Every pair's rows as CSV, plain numbers: mIoU and shares in 0..1."""
    names = [name for name in PublishedRow.__dataclass_fields__ if name != "miou_text"]
    rows = [{name: getattr(row, name) for name in names} for rows in pairs.values() for row in rows]
    return csv_text(rows, names)


def _student_parameters(study: Study, summary: Summary) -> int | None:
    paths = (Layout(study.results).student_files(Cell.parse(row.path)).weights for row in summary.rows)
    return next((count for path in paths if (count := count_parameters(path)) is not None), None)


def _row_of(row: Published, dataset: str, pair: str) -> PublishedRow:
    undistilled, miou, teacher_miou = (
        None if value is None else value / 100 for value in (row.undistilled, row.miou, row.teacher_miou)
    )
    text = format.percent(miou, 2)
    return PublishedRow(
        dataset, pair, row.method, row.recipe, undistilled, miou, text, row.teacher, teacher_miou, row.share, row.student,
        None, row.source, row.caveat,
    )  # fmt: skip
