"""A study's students beside published ones: share of the teacher's mIoU, and size."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from isoclock.params.schema import Published
from isoclock.report import format
from isoclock.report.collect import FINISHED, Study
from isoclock.report.summary import Summary
from isoclock.report.tables import csv_text, markdown_table

BESIDE_TITLES = (
    "method", "recipe", "undistilled mIoU %", "mIoU %", "teacher", "teacher mIoU %", "% of teacher", "student",
    "parameters (M)", "source", "caveat",
)  # fmt: skip
BESIDE_NOTE = (
    "Published rows are of other recipes, teachers and hardware, and of equal iterations at best; they are no comparison "
    "under this protocol. Undistilled: `none` at the same budget here, the source's own baseline there. Parameters "
    "include the auxiliary head, which is used in training alone."
)
HERE = "this study"
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True)
class Beside:
    """One row: shares and mIoUs in 0..1, parameters as a number; None where nobody tells."""

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
        """As texts under BESIDE_TITLES."""
        size = format.NOTHING if self.parameters is None else f"{self.parameters / 1e6:.2f}"
        return [
            self.method, self.recipe, format.percent(self.undistilled, 2), self.miou_text, self.teacher,
            format.percent(self.teacher_miou, 2), format.percent(self.teacher_share), self.student, size, self.source,
            self.caveat,
        ]  # fmt: skip


def besides(
    study: Study, summaries: Sequence[Summary], published: Sequence[Published], dataset: str, pair: str
) -> list[Beside]:
    """Rows of one pair: this study's scored ones, then the published ones of the same data set."""
    mine = [s for s in summaries if (s.first.dataset, s.first.pair) == (dataset, pair) and s.miou.mean is not None]
    teacher = study.teachers.get((dataset, pair))
    plain = {s.first.budget: s.miou.mean for s in mine if s.first.method == "none"}
    return [
        Beside(
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
    ] + [_row_of(row, dataset, pair) for row in published if row.dataset == dataset]


def count_parameters(weights: Path) -> int | None:
    """Trained numbers in a safetensors file, by its header; None where it is not there. Batch statistics are not trained."""
    if not weights.is_file():
        return None
    with weights.open("rb") as stream:
        header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    tensors = {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}
    return sum(math.prod(shape) for name, shape in tensors.items() if not name.endswith(_STATISTICS))


def beside_markdown(beside: Mapping[tuple[str, str], Sequence[Beside]]) -> str:
    """Every pair's rows as markdown."""
    words = [title not in BESIDE_TITLES[2:4] + BESIDE_TITLES[5:7] + BESIDE_TITLES[8:9] for title in BESIDE_TITLES]
    parts = [
        f"## {dataset} / {pair}\n\n" + markdown_table(BESIDE_TITLES, [row.cells() for row in rows], words)
        for (dataset, pair), rows in beside.items()
    ]
    return "\n".join([*parts, BESIDE_NOTE, ""])


def beside_csv(beside: Mapping[tuple[str, str], Sequence[Beside]]) -> str:
    """Every pair's rows as CSV, plain numbers: mIoU and shares in 0..1."""
    names = [name for name in Beside.__dataclass_fields__ if name != "miou_text"]
    rows = [{name: getattr(row, name) for name in names} for rows in beside.values() for row in rows]
    return csv_text(rows, names)


def _student_parameters(study: Study, summary: Summary) -> int | None:
    paths = (study.results / "student" / row.path / "weights.safetensors" for row in summary.rows)
    return next((count for path in paths if (count := count_parameters(path)) is not None), None)


def _row_of(row: Published, dataset: str, pair: str) -> Beside:
    undistilled, miou, teacher_miou = (
        None if value is None else value / 100 for value in (row.undistilled, row.miou, row.teacher_miou)
    )
    text = format.percent(miou, 2)
    return Beside(
        dataset, pair, row.method, row.recipe, undistilled, miou, text, row.teacher, teacher_miou, row.share, row.student,
        None, row.source, row.caveat,
    )  # fmt: skip
