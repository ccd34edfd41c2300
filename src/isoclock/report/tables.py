"""The comparison as a table: markdown, CSV, LaTeX (booktabs) and the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from isoclock.report import format
from isoclock.report.collect import FINISHED, CellRow, Study
from isoclock.report.differences import MARGIN, Difference
from isoclock.report.metrics_table import metric_estimate, metric_names, metrics_table
from isoclock.report.summary import Summary
from isoclock.report.teacher_cost import NOTE, WORDS, teacher_cost

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "–": "--", "<": r"$<$", ">": r"$>$",
}  # fmt: skip


@dataclass(frozen=True)
class Column:
    """A column of the comparison: the text that is shown and the value to sort by; `words` are aligned left."""

    title: str
    text: Callable[[Summary], str]
    value: Callable[[Summary], float | str | None]
    words: bool = False


def _word(title: str, read: Callable[[Summary], str]) -> Column:
    return Column(title, read, read, words=True)


def _planned_spent(title: str, spell: Callable[[float | None], str], planned: str, spent: str) -> Column:
    return Column(
        title,
        lambda s: format.both(spell(s.mean(planned)), spell(s.mean(spent))),
        lambda s: s.mean(spent) or s.mean(planned),
    )


COLUMNS = (
    _word("method", lambda s: s.first.method),
    _word("implementation", lambda s: s.first.implementation or format.NOTHING),
    _word("weights", lambda s: s.first.weights or format.NOTHING),
    _word("protocol", lambda s: s.first.protocol),
    _word("budget", lambda s: s.first.budget),
    Column("n", lambda s: f"{s.count(FINISHED)} of {len(s.rows)}", lambda s: s.count(FINISHED)),
    _planned_spent("iterations planned / done", format.count, "iterations_planned", "iterations_done"),
    Column(
        "cost ratio [95 %]",
        lambda s: format.ratio(s.first.cost_ratio, s.first.cost_low, s.first.cost_high),
        lambda s: s.first.cost_ratio,
    ),
    _planned_spent("time planned / spent", format.seconds, "planned_s", "spent_s"),
    _planned_spent("anchor-steps planned / spent", format.count, "planned_anchor_steps", "spent_anchor_steps"),
    Column("peak MiB", lambda s: format.count(s.first.peak_mib), lambda s: s.first.peak_mib),
    Column("mIoU %", lambda s: format.points(s.miou), lambda s: s.miou.mean),
    Column("rank [95 %]", lambda s: format.rank(s.rank), lambda s: s.rank.place if s.rank else None),
    Column("% of teacher", lambda s: format.percent(s.teacher_share), lambda s: s.teacher_share),
    Column("p (within 1 % of teacher)", lambda s: format.p(s.teacher_p), lambda s: s.teacher_p),
    _word("marks", lambda s: ", ".join(s.marks)),
)

FOOTNOTE = (
    "n: seeds finished of seeds planned; mIoU: mean over the finished seeds ± half of its 95 % t interval, from the standard "
    "deviation of all cells of the table together. Rank: among the methods of a budget, and the places that Tukey's test of all "
    "pairs leaves; a method with diverged runs ranks last. p (within 1 % of teacher): two one-sided t-tests, adjusted (Holm). "
    "Cost ratio: anchor-steps an iteration, median and 95 % bootstrap interval; one anchor-step is one student-only training "
    "step on the same device. Times and anchor-steps are of training alone, means over the finished seeds. Tuning: train time "
    "and anchor-steps of all runs that chose the weights on a part of train, spent in addition, once for all seeds and budgets."
)

_TUNING = Column(
    "tuning time / anchor-steps",
    lambda s: format.both(format.seconds(s.first.tuning_s), format.count(s.first.tuning_anchor_steps)),
    lambda s: s.first.tuning_s,
)


def columns(summaries: Sequence[Summary]) -> list[Column]:
    """The columns of a table: what tuning took is one of them where weights were tuned."""
    return [
        column
        for column in (*COLUMNS[:-1], _TUNING, COLUMNS[-1])
        if column is not _TUNING or any(s.first.tuning_s is not None for s in summaries)
    ]


DIFFERENCE_TITLES = (
    "method", "minus", "budget", "result", "over seeds [95 %]", "n seeds", "p (Holm)", f"p (within {100 * MARGIN:g})",
    "P(better) [95 %]", "detectable", "over seeds and images [95 %]", "p",
)  # fmt: skip
DIFFERENCE_WORDS = 4
"""Number of leading columns with text, which are left-aligned."""


def difference_cells(difference: Difference) -> list[str]:
    """The texts of a difference, one per title of DIFFERENCE_TITLES, in percentage points of mIoU."""
    images = difference.over_images
    return [
        difference.method,
        difference.reference,
        difference.budget,
        difference.result,
        format.signed_points(difference.over_seeds),
        str(difference.over_seeds.n),
        format.p(difference.p),
        format.p(difference.equivalence_p),
        format.probability(difference.better),
        format.percent(difference.detectable),
        format.signed_points(images),
        format.p(images.p if images else None),
    ]


def to_markdown(study: Study, summaries: Sequence[Summary], found: Sequence[Difference]) -> str:
    """For every pair the comparison, all metrics and the differences, as markdown."""
    parts = []
    for dataset, pair in study.pairs:
        of_pair = [s for s in summaries if (s.first.dataset, s.first.pair) == (dataset, pair)]
        shown = columns(of_pair)
        rows = [[column.text(s) for column in shown] for s in of_pair]
        parts.append(f"## {dataset} / {pair}\n\n{_head(study, dataset, pair)}\n")
        parts.append(markdown_table([column.title for column in shown], rows, [column.words for column in shown]))
        titles, metrics = metrics_table(of_pair)
        if metrics:
            parts += ["### All metrics\n", markdown_table(titles, metrics, [title in titles[:2] for title in titles])]
        titles, charged = teacher_cost(study, of_pair)
        if charged:
            words = [place < WORDS for place in range(len(titles))]
            parts += ["### With the teacher charged\n", markdown_table(titles, charged, words), f"{NOTE}\n"]
        differences = [difference_cells(d) for d in found if (d.dataset, d.pair) == (dataset, pair)]
        if differences:
            parts.append("### Differences in mIoU, percentage points\n")
            words = [place < DIFFERENCE_WORDS for place in range(len(DIFFERENCE_TITLES))]
            parts.append(markdown_table(DIFFERENCE_TITLES, differences, words))
    return "\n".join([*parts, FOOTNOTE, ""])


def to_latex(study: Study, summaries: Sequence[Summary]) -> str:
    """The comparison of every pair as a booktabs tabular (needs \\usepackage{booktabs})."""
    parts = []
    for dataset, pair in study.pairs:
        of_pair = [s for s in summaries if (s.first.dataset, s.first.pair) == (dataset, pair)]
        lines, shown = [f"% {dataset} / {pair}; {_head(study, dataset, pair)}".replace("\n", " ")], columns(of_pair)
        lines.append(r"\begin{tabular}{" + "".join("l" if column.words else "r" for column in shown) + "}")
        lines += [r"\toprule", _latex_row([column.title for column in shown]), r"\midrule"]
        for number, s in enumerate(of_pair):
            if number and of_pair[number - 1].first.budget != s.first.budget:
                lines.append(r"\addlinespace")
            lines.append(_latex_row([column.text(s) for column in shown]))
        parts.append("\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""]))
    return "\n".join(parts)


def to_csv(summaries: Sequence[Summary]) -> str:
    """One line per method and budget, plain numbers: scores in 0..1, seconds, anchor-steps; empty where not known."""
    metrics = metric_names(summaries)
    rows = []
    for s in summaries:
        first = s.first
        row: dict[str, Any] = {
            name: getattr(first, name)
            for name in ("dataset", "pair", "method", "implementation", "weights", "protocol", "budget")
        }
        row |= {"protocol_version": first.protocol_version, "n": s.count(FINISHED), "n_planned": len(s.rows)}
        averaged = (
            "iterations_planned",
            "iterations_done",
            "planned_s",
            "spent_s",
            "planned_anchor_steps",
            "spent_anchor_steps",
            "lost_s",
        )
        row |= {name: s.mean(name) for name in averaged}
        row |= {
            name: getattr(first, name) for name in ("cost_ratio", "cost_low", "cost_high", "peak_mib", "device_kind")
        }
        row |= {name: getattr(first, name) for name in ("tuning_s", "tuning_anchor_steps")}
        row |= {"miou_mean": s.miou.mean, "miou_low": s.miou.low, "miou_high": s.miou.high, "miou_sd": s.miou.sd}
        places = (s.rank.place, s.rank.low, s.rank.high) if s.rank else (None, None, None)
        row |= dict(zip(("rank", "rank_low", "rank_high"), places, strict=True)) | {"teacher_p": s.teacher_p}
        row |= {f"{name}_mean": metric_estimate(s, name).mean for name in metrics}
        rows.append(
            row | {"teacher_miou": first.teacher_miou, "teacher_share": s.teacher_share, "marks": "; ".join(s.marks)}
        )
    return csv_text(rows, list(rows[0]) if rows else [])


def cells_csv(rows: Sequence[CellRow]) -> str:
    """The tidy table: one line per cell, holes included, with the metrics that have no column of their own at the end."""
    flat = [row.tidy() | row.metrics for row in rows]
    return csv_text(flat, list(dict.fromkeys(name for row in flat for name in row)))


def print_comparison(study: Study, summaries: Sequence[Summary]) -> None:
    """Print the comparison of every pair to the terminal."""
    from rich.table import Table
    from rich.text import Text

    from isoclock.progress import table_console

    console = table_console()
    for dataset, pair in study.pairs:
        console.print(Text(f"{dataset} / {pair}. {_head(study, dataset, pair)}", style="bold"))
        # A terminal is narrow: planned values are in the files only, and the budget is the head of its block of rows.
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for title in ("method", "n", "iters", "cost", "spent", "MiB", "mIoU %", "% teacher", "marks"):
            words = title in ("method", "marks")
            table.add_column(title, justify="left" if words else "right", no_wrap=title != "marks", overflow="fold")
        budget = None
        for s in (s for s in summaries if (s.first.dataset, s.first.pair) == (dataset, pair)):
            if s.first.budget != budget:
                budget = s.first.budget
                table.add_row(Text(budget, style="bold"))
            cost = format.ratio(s.first.cost_ratio)
            done = s.mean("iterations_done")
            row = [s.first.method, f"{s.count(FINISHED)}/{len(s.rows)}", format.count(done), cost]
            row += [format.seconds(s.mean("spent_s")), format.count(s.first.peak_mib)]
            row += [format.points(s.miou), format.percent(s.teacher_share), ", ".join(s.marks)]
            table.add_row(*map(Text, row))
        console.print(table)


def _head(study: Study, dataset: str, pair: str) -> str:
    teacher = study.teachers.get((dataset, pair))
    score = "Teacher: no scores found."
    if teacher is not None:
        score = f"Teacher {teacher.model}: {format.percent(teacher.scores.miou)} mIoU on {teacher.scores.split}."
    return " ".join(filter(None, [score, format.version_note(study.version)]))


def markdown_table(titles: Sequence[str], rows: Sequence[Sequence[str]], words: Sequence[bool]) -> str:
    """A table as markdown; columns of `words` are aligned left, the others right."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    rule = "|" + "|".join(" :-- " if left else " --: " for left in words) + "|"
    return "\n".join([line(titles), rule, *map(line, rows), ""])


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join("".join(_LATEX.get(letter, letter) for letter in cell) for cell in cells) + r" \\"


def csv_text(rows: Sequence[dict[str, Any]], names: list[str]) -> str:
    """Rows as CSV with a header."""
    out = io.StringIO()
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
