from __future__ import annotations

import json
import math
from typing import Any

import pytest

import documents
from documents import segment
from isoclock.budget.audit import AuditRow, audit, audit_record
from isoclock.cli.main import main
from isoclock.protocol import VERSION
from isoclock.records.document import write
from isoclock.records.record import StudentRecord
from isoclock.report.format import saving
from isoclock.runner.ledger import read_ledger
from tiny_study import TinyStudy, cell, write_plan

CELL = cell()


def record(*segments: dict[str, Any], lost_s: float = 0.0, **changes: Any) -> StudentRecord:
    """A record whose plan has 100 anchor-steps of 0.1 s."""
    planned = documents.plan(CELL, iterations=50, cost_ratio=2.0)
    return documents.student_record(CELL, planned, segments, clock={"lost_s": lost_s}, **changes)


def test_a_run_that_kept_its_time() -> None:
    row = audit_record(record(segment(10.0)))
    assert row == AuditRow(
        cell=CELL,
        protocol_version=VERSION,
        planned_s=10.0,
        spent_s=10.0,
        planned_anchor_steps=100.0,
        spent_anchor_steps=pytest.approx(100.0),
        deviation=pytest.approx(0.0),
        deviation_error=pytest.approx(0.0),
        cost_ratio=2.0,
        contention=pytest.approx(1.0),
        lost_s=0.0,
        checkpoints=record(segment(10.0)).checkpoints,
        device_kind="cpu:test",
        marks=(),
    )


def test_a_slower_node_of_the_kind_is_no_deviation() -> None:
    row = audit_record(record(segment(15.0, anchor_s=0.15)))
    assert row.deviation == pytest.approx(0.0)
    assert row.contention == pytest.approx(1.5)
    assert row.marks == ()


def test_each_segment_counts_by_its_own_anchor() -> None:
    row = audit_record(record(segment(5.0, 0.1), segment(10.0, 0.2)))
    assert row.spent_anchor_steps == pytest.approx(100.0)
    assert row.contention == pytest.approx((5 * 0.1 + 10 * 0.2) / 15 / 0.1)


@pytest.mark.parametrize(
    ("train_s", "marked"), [(9.69, True), (9.71, False), (10.0, False), (10.29, False), (10.31, True), (20.0, True)]
)
def test_three_per_cent(train_s: float, marked: bool) -> None:
    row = audit_record(record(segment(train_s)))
    assert ("off-budget" in row.marks) == marked
    assert row.deviation == pytest.approx(train_s / 10 - 1)


def test_what_was_lost_is_marked_and_not_spent() -> None:
    row = audit_record(record(segment(10.0), lost_s=4.0))
    assert (row.lost_s, row.spent_s, row.marks) == (4.0, 10.0, ("lost-time",))


def test_a_run_that_diverged_is_marked_so_and_not_off_budget() -> None:
    row = audit_record(record(segment(3.0), status="diverged"))
    assert row.marks == ("diverged",)
    assert row.deviation == pytest.approx(-0.7)


def test_hardware_that_changed_on_the_way() -> None:
    row = audit_record(record(segment(5.0), segment(5.0, device_kind="cpu:other")))
    assert row.marks == ("mixed-hardware",)
    assert row.device_kind == "cpu:other; cpu:test"


@pytest.mark.parametrize("version", ["cuda", "cudnn"])
def test_a_library_that_changed_on_the_way(version: str) -> None:
    one, other = ({version: number} for number in ("12.8", "13.0"))
    assert audit_record(record(segment(5.0, **one), segment(5.0, **other))).marks == ("mixed-hardware",)
    assert audit_record(record(segment(5.0, **one), segment(5.0, **one))).marks == ()


def test_marks_of_the_plan_are_kept() -> None:
    assert audit_record(record(segment(10.0), plan={"marks": ["noisy"]})).marks == ("noisy",)


@pytest.mark.parametrize(
    "segments",
    [[segment(10.0, None)], [segment(5.0), segment(5.0, None)], [segment(10.0), segment(1e-3, None, iterations=0)]],
    ids=["none measured", "one of two measured", "pre-training not measured"],
)
def test_a_segment_without_a_measured_anchor_leaves_the_sum_unknown(segments: list[dict[str, Any]]) -> None:
    row = audit_record(record(*segments))
    assert (row.spent_anchor_steps, row.deviation, row.contention) == (None, None, None)
    assert row.marks == (), "unknown is not off budget"


def test_a_segment_that_did_not_train_need_not_be_measured() -> None:
    row = audit_record(record(segment(10.0), segment(0.0, None, iterations=0)))
    assert row.spent_anchor_steps == pytest.approx(100.0)


def test_what_saving_took_is_shown(
    taught_study: TinyStudy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By a run that saves often, and as its ledger has it."""
    from isoclock.runner.run import train_student

    monkeypatch.setattr("isoclock.runner.session.SAVING_SHARE", math.inf)
    taught_study.edit("training.yaml", "checkpoint_every_s: 1000.0", "checkpoint_every_s: 1.0e-9")
    write_plan(taught_study, iterations=3)
    assert train_student(taught_study.params, cell(), taught_study.layout) == "finished"
    folder = taught_study.layout.student(cell())
    saves_s = [event["io_s"] for event in read_ledger(folder / "ledger.jsonl") if event["event"] == "checkpoint"]
    train_s = json.loads((folder / "record.json").read_text())["clock"]["train_s"]
    assert len(saves_s) == 3
    monkeypatch.chdir(taught_study.folder)
    monkeypatch.setenv("COLUMNS", "300")
    assert main(["audit", "--grid", "toy"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "kd/iteration-6/0" in line]
    assert f"{100 * sum(saves_s) / train_s:.2f} % / 0.0 s" in line


@pytest.mark.parametrize(
    ("every_s", "share", "text"),
    [(60.0, 0.00031, "0.03 % / 60.0 s"), (7200.0, 0.008, "0.80 % / 2.00 h"), (60.0, None, "– % / 60.0 s")],
)
def test_how_saving_is_written(every_s: float, share: float | None, text: str) -> None:
    assert (
        saving(record(segment(10.0)).checkpoints.model_copy(update={"every_s": every_s, "share_of_train": share}))
        == text
    )


def test_cells_that_are_not_trained_yet_have_no_row(empty_study: TinyStudy) -> None:
    trained, missing = cell("kd"), cell("cwd")
    write(empty_study.layout.student(trained) / "record.json", record(segment(10.0)))
    rows = audit([missing, trained], empty_study.layout)
    assert [row.cell.method for row in rows] == ["kd"]
