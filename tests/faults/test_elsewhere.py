"""A run resumes only on the hardware and versions it started on (fault 7)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
from fault_makers import Elsewhere, KilledInCheckpoint, save_all_the_time
from trainers import Trainer, stop, until

from documents import changed
from isoclock.budget.audit import audit_record
from isoclock.files import sha256_file
from isoclock.records.document import plain, read
from isoclock.records.record import StudentRecord
from tiny_study import write_plan

pytestmark = pytest.mark.xdist_group("faults")


@pytest.mark.parametrize(
    ("what", "value", "message"),
    [
        ("torch", "9.9.9", f"started on {torch.__version__} as torch but this is 9.9.9"),
        ("threads", 2, "started on 1 CPU threads but this is 2"),
    ],
)
def test_a_student_is_not_finished_elsewhere(
    trainer: Callable[..., Trainer], whole: str, what: str, value: Any, message: str
) -> None:
    run = trainer()
    write_plan(run.study)
    run.study.edit("training.yaml", "checkpoint_every_s: 1000.0", "checkpoint_every_s: 1.0e-9")
    assert run.run(save_all_the_time, KilledInCheckpoint("fsync", 1, save=3)) == -9, run.said
    before = {path.name: sha256_file(path) for path in run.folder.glob("checkpoint-*")}
    assert run.run(Elsewhere(what, value)) == 2
    assert message in run.said
    assert (
        "excluded from matched tables: continue where it started, or remove this folder to start again here" in run.said
    )
    assert {path.name: sha256_file(path) for path in run.folder.glob("checkpoint-*")} == before
    assert run.run() == 0, run.said
    assert run.record["digests"]["weights"] == whole


def test_a_student_continues_with_another_cudnn_and_is_marked(trainer: Callable[..., Trainer]) -> None:
    run = trainer()
    write_plan(run.study)
    run.study.edit("training.yaml", "checkpoint_every_s: 1000.0", "checkpoint_every_s: 1.0e-9")
    first = Elsewhere("cudnn", "91400")
    assert run.run(first, save_all_the_time, KilledInCheckpoint("fsync", 1, save=3)) == -9, run.said
    assert run.run(Elsewhere("cudnn", "92400")) == 0, run.said
    assert "started with cuDNN 91400 but this is 92400; the cell is marked mixed-hardware" in run.said
    record = read(run.study.layout.student(run.cell) / "record.json", StudentRecord, "student")
    assert [segment.cudnn for segment in record.segments] == ["91400", "92400"]
    assert "mixed-hardware" in audit_record(record).marks


def test_a_teacher_is_not_finished_on_another_device_kind(trainer: Callable[..., Trainer]) -> None:
    run = trainer("teacher")
    run.study.edit("training.yaml", "iterations: 6", "iterations: 2000")
    shutil.rmtree(run.folder)
    process = run.start()
    until(lambda: run.events_of("train"), "it trains")
    assert stop(process) == 75, run.said
    assert run.run(Elsewhere("device_kind", "cuda:NVIDIA H100 80GB HBM3")) == 2
    assert "but this is cuda:NVIDIA H100 80GB HBM3" in run.said


def test_a_cell_trained_on_different_hardware_is_marked(trainer: Callable[..., Trainer]) -> None:
    run = trainer()
    write_plan(run.study)
    assert run.run() == 0, run.said
    record = read(run.study.layout.student(run.cell) / "record.json", StudentRecord, "student")
    assert "mixed-hardware" not in audit_record(record).marks
    for other in ({"torch": "9.9.9"}, {"threads": 2}, {"device_kind": "cpu:another"}, {"cuda": "13.0"}, {"cudnn": "1"}):
        mixed = changed(record, segments=[plain(record.segments[0]), plain(record.segments[0]) | other])
        assert "mixed-hardware" in audit_record(mixed).marks
