"""The disk is full while a file is saved (fault 3), simulated by a small tmpfs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fault_makers import save_all_the_time
from test_kill import checkpoints
from trainers import Trainer

from tiny_study import write_plan

pytestmark = pytest.mark.xdist_group("faults")
Disk = Callable[[Path, str], None]


def test_a_full_disk_leaves_the_old_checkpoint(trainer: Callable[..., Trainer], small_disk: Disk, whole: str) -> None:
    run = trainer()
    run.study.edit("training.yaml", "checkpoint_every_s: 1000.0", "checkpoint_every_s: 1.0e-9")
    write_plan(run.study)
    small_disk(run.folder, "8m")  # two checkpoints of 3.5 MB, and not a third
    assert run.run(save_all_the_time) == 2
    assert (
        "checkpoint-000000003.pt: No space left on device; make room; then start again "
        "(the checkpoint of iteration 2 is intact)"
    ) in run.said
    assert "Traceback" not in run.said
    assert checkpoints(run.folder) == [1, 2]
    assert not [path for path in run.folder.iterdir() if path.name.startswith(".")], (
        "and what did not fit takes no room"
    )

    assert run.run(save_all_the_time) == 2, "it is still full"
    assert checkpoints(run.folder) == [1, 2]
    small_disk(run.folder, "32m")
    assert run.run(save_all_the_time) == 0, run.said
    assert run.record["digests"]["weights"] == whole
    assert run.events_of("start")[-1]["iteration"] == 2


def test_a_result_that_does_not_fit_is_published_later(
    trainer: Callable[..., Trainer], small_disk: Disk, whole: str
) -> None:
    run = trainer()
    write_plan(run.study)
    result = run.study.layout.student(run.cell)
    small_disk(result, "64k")
    assert run.run() == 2
    assert (
        f"student {run.cell.path}: results/student/{run.cell.path}/weights.safetensors: No space left on device"
        in run.said
    )
    assert "Traceback" not in run.said
    assert not (result / "record.json").exists(), "a result is complete or does not exist"
    small_disk(result, "8m")
    assert run.run() == 0, run.said
    assert run.record["digests"]["weights"] == whole
    assert len(run.record["segments"]) == 1, "it was not trained again"
