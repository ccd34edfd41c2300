"""A wrong or malicious teacher (faults 11 and 12) is rejected before training."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest
import torch
from fault_makers import Payload, save_all_the_time
from trainers import Trainer, stop, until

from isoclock.files import read_json, sha256_file, write_json
from tiny_study import write_plan

pytestmark = pytest.mark.xdist_group("faults")


def test_a_teacher_with_another_class_list_is_rejected(trainer: Callable[..., Trainer]) -> None:
    run = trainer()
    write_plan(run.study)
    path = run.study.layout.teacher("streets", "small") / "record.json"
    record = read_json(path, "teacher")
    record["params"]["classes"] = [*record["params"]["classes"][:-1], "unicycle"]
    write_json(path, record)
    assert run.run() == 2
    assert f"{path.parent.relative_to(run.study.folder)}: this teacher was trained on another class list" in run.said
    assert run.events == [], "nothing was trained"


def test_a_run_restarts_if_its_teacher_was_replaced(trainer: Callable[..., Trainer]) -> None:
    run, teacher = trainer(), trainer("teacher")
    write_plan(run.study, iterations=100)
    process = run.start(save_all_the_time)
    until(lambda: run.events_of("train"), "it trains")
    assert stop(process) == 75, run.said
    first = run.events_of("start")[0]["run_id"]
    run.study.edit("training.yaml", "lr: 0.02\n    iterations: 6", "lr: 0.03\n    iterations: 6")
    shutil.rmtree(run.study.layout.teacher("streets", "small"))
    assert teacher.run() == 0, teacher.said
    assert run.run() == 0, run.said
    assert run.record["run_id"] != first
    assert [segment["first_iteration"] for segment in run.record["segments"]] == [0], "from the beginning"
    assert (run.folder / "superseded" / first / "ledger.jsonl").is_file()


def test_code_in_a_teachers_weights_does_not_run(trainer: Callable[..., Trainer]) -> None:
    run = trainer()
    write_plan(run.study)
    folder = run.study.layout.teacher("streets", "small")
    torch.save({"classifier.1.weight": Payload(run.study.folder / "it ran")}, folder / "weights.safetensors")
    record = read_json(folder / "record.json", "teacher")
    record["digests"]["weights"] = sha256_file(folder / "weights.safetensors")  # as a careful attacker would
    write_json(folder / "record.json", record)
    assert run.run() == 2
    assert "weights.safetensors: cannot be loaded" in run.said
    assert "Traceback" not in run.said
    assert not (run.study.folder / "it ran").exists()
