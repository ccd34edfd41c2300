"""A second accounting: the train time of a cell with its teacher's, for one student and for all that share the teacher."""

from __future__ import annotations

from collections.abc import Sequence

from isoclock.report import format
from isoclock.report.collect import Study
from isoclock.report.summary import Summary, table_of

WORDS = 2
"""Number of leading columns with text, which are left-aligned."""
NOTE = (
    "Train time with the teacher charged. Budgets are of students alone: a teacher that exists costs nothing. If it has to be "
    "trained first, its time is added to one student, or shared by all students of this grid that learn from it. `none` has no "
    "teacher. Times are means over the finished seeds, and the teacher's is that of its record."
)


def teacher_cost(study: Study, summaries: Sequence[Summary]) -> tuple[list[str], list[list[str]]]:
    """Titles and rows of one pair: a row for each method and budget. No rows where the teacher's train time is not known.

    It is not known of an imported teacher. `summaries` are those of the pair.
    """
    taught = [s for s in summaries if _has_teacher(study, s)]
    students = sum(row.spent_s is not None for s in taught for row in s.rows)
    titles = ["method", "budget", "mIoU %", "student alone", "with the teacher", f"with 1/{students} of it"]
    teacher = study.teachers.get(table_of(summaries[0])) if summaries else None
    if teacher is None or teacher.train_s is None or not students:
        return titles, []
    rows = []
    for s in summaries:
        alone, share = s.mean("spent_s"), teacher.train_s if s in taught else 0.0
        times = [None if alone is None else alone + part for part in (0.0, share, share / students)]
        rows.append([s.first.method, s.first.budget, format.points(s.miou), *map(format.seconds, times)])
    return titles, rows


def _has_teacher(study: Study, summary: Summary) -> bool:
    records = [study.records[row.path] for row in summary.rows if row.path in study.records]
    return any(record.digests.teacher is not None for record in records)
