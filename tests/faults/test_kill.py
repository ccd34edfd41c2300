"""kill -9 of a trainer: at random moments (fault 1), and while a checkpoint is written (fault 2)."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from fault_makers import KilledInCheckpoint, SlowSteps, save_all_the_time
from trainers import Trainer, ended, until

from isoclock.files import sha256_file
from isoclock.runner.checkpoint import load_newest
from isoclock.runner.progress_file import ProgressFile
from tiny_study import write_plan

ROUNDS = int(os.environ.get("ISOCLOCK_KILLS", "3"))
pytestmark = pytest.mark.xdist_group("faults")


def checkpoints(folder: Path) -> list[int]:
    """Iterations of the valid checkpoints. Fails if one of them is incomplete."""
    found = []
    for digest in sorted(folder.glob("checkpoint-*.json")):
        assert sha256_file(digest.with_suffix(".pt")) == json.loads(digest.read_text())["sha256"], digest
        found.append(int(digest.stem.partition("-")[2]))
    return found


def progress(run: Trainer) -> tuple[int, float]:
    """Iterations done and train time of the killed process."""
    found = ProgressFile(run.folder).read()
    assert found is not None
    return found


def lost_with(run: Trainer, saved_s: float) -> float:
    """Train time that the last process recorded, in its progress file or its ledger, but did not save."""
    recorded_s = [event["train_s"] for event in run.events if event["event"] in ("start", "train")]
    return max(0.0, progress(run)[1] - saved_s, recorded_s[-1] - saved_s)


def nothing_is_charged_twice(run: Trainer, lost_s: float) -> None:
    """Each iteration is in exactly one segment; the clock has the time of those segments, and lost time is separate."""
    record, at = run.record, 0
    for segment in record["segments"]:
        assert segment["first_iteration"] == at
        at += segment["iterations"]
    assert record["iterations"] == {"planned": at, "done": at}
    charged_s = sum(segment["train_s"] for segment in record["segments"])
    assert record["clock"]["train_s"] == pytest.approx(charged_s)
    assert record["clock"]["lost_s"] == pytest.approx(lost_s, abs=1e-3 * len(record["segments"]))


@pytest.mark.timeout(60 + 30 * ROUNDS)
@pytest.mark.target("50 kills during training: no losses")
def test_kills_at_random_moments_lose_at_most_an_interval(
    trainer: Callable[..., Trainer], record_property: Callable[[str, object], None]
) -> None:
    run = trainer()
    # Saved after every iteration, so that about every second kill meets a checkpoint that is being written.
    run.study.edit("training.yaml", "checkpoint_every_s: 1000.0", "checkpoint_every_s: 1.0e-9")
    write_plan(run.study, iterations=12 * (ROUNDS + 1))
    draw = random.Random(ROUNDS)
    at = 0
    resumed, lost_s = [0], 0.0
    for number in range(ROUNDS):
        process = run.start(save_all_the_time)
        run.until_event("checkpoint", segment=number, beyond=at)
        process.join(draw.uniform(0.0, 0.25))
        process.kill()
        assert ended(process) == -9, run.said
        saved = run.events_of("checkpoint")[-1]["iteration"]
        whole = checkpoints(run.folder)
        assert saved in whole, "a checkpoint in the ledger exists and is complete"
        found = load_newest(run.folder)
        assert found is not None
        done, _ = progress(run)
        assert saved <= found.iteration <= done <= found.iteration + 1, "an interval is an iteration here"
        assert all("not finished" in complaint for complaint in found.complaints)
        at = found.iteration
        resumed.append(at)
        lost_s += lost_with(run, found.state["clock"]["train"])
    assert run.run(save_all_the_time) == 0, run.said
    assert [event["iteration"] for event in run.events_of("start")] == resumed
    nothing_is_charged_twice(run, lost_s)
    assert run.said.count("the previous process was killed; continuing from iteration") == ROUNDS
    assert sorted(path.name for path in run.folder.glob("*checkpoint*"))[0].startswith("checkpoint"), (
        "nothing half-written"
    )

    whole_run = trainer("kd")
    cut = run.record
    for folder in (run.folder, run.study.layout.student(run.cell)):
        folder.rename(folder.with_name("cut"))
    assert whole_run.run() == 0
    assert len(whole_run.record["segments"]) == 1
    assert cut["digests"]["weights"] == whole_run.record["digests"]["weights"]
    assert cut["iterations"] == whole_run.record["iterations"]
    record_property("cases", ROUNDS)
    record_property("found", f"the same weights as without kills; {lost_s:.1f} s were trained twice")


def test_a_kill_between_two_checkpoints_loses_time_since_the_first(trainer: Callable[..., Trainer]) -> None:
    # A step takes this or more, and a checkpoint is due after `interval` of them or fewer, however busy the machine is.
    run, step_s, interval = trainer("none"), 0.05, 4
    run.study.edit("training.yaml", "checkpoint_every_s: 1000.0", f"checkpoint_every_s: {interval * step_s * 0.99}")
    write_plan(run.study, "none", iterations=24)
    slowly, resumed, lost_s = (save_all_the_time, SlowSteps(step_s)), [0], 0.0
    for number in range(3):
        process = run.start(*slowly)
        run.until_event("checkpoint", segment=number)
        until(lambda: progress(run)[0] > run.events_of("checkpoint")[-1]["iteration"], "an iteration more is done")
        process.kill()
        assert ended(process) == -9, run.said
        found = load_newest(run.folder)
        assert found is not None
        done, _ = progress(run)
        assert run.events_of("checkpoint")[-1]["iteration"] <= found.iteration <= done <= found.iteration + interval
        assert found.iteration > resumed[-1], "it gets on, killed or not"
        resumed.append(found.iteration)
        lost_s += lost_with(run, found.state["clock"]["train"])
    assert run.run(*slowly) == 0, run.said
    assert [event["iteration"] for event in run.events_of("start")] == resumed
    nothing_is_charged_twice(run, lost_s)
    assert run.record["iterations"]["done"] == 24
    assert run.record["clock"]["train_s"] >= 24 * step_s


MOMENTS = {
    "half of it is written": KilledInCheckpoint("write", 3, save=3),
    "before its fsync": KilledInCheckpoint("fsync", 1, save=3),
    "before it is renamed": KilledInCheckpoint("replace", 1, save=3),
    "before its folder's fsync": KilledInCheckpoint("fsync", 2, save=3),
    "before its digest is renamed": KilledInCheckpoint("replace", 2, save=3),
    "before an older one is dropped": KilledInCheckpoint("unlink", 3, save=3),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kill_during_a_save_keeps_the_previous_checkpoint(trainer: Callable[..., Trainer], moment: str) -> None:
    run = trainer()
    run.study.edit("training.yaml", "checkpoint_every_s: 1000.0", "checkpoint_every_s: 1.0e-9")
    write_plan(run.study)
    assert run.run(save_all_the_time, MOMENTS[moment]) == -9, run.said
    saved = [event["iteration"] for event in run.events_of("checkpoint")]
    assert saved == [1, 2], "it died within the third"
    done = "dropped" in moment  # the third was saved, but is not in the ledger
    assert checkpoints(run.folder)[-1] == (3 if done else 2)
    assert run.run(save_all_the_time) == 0, run.said
    assert run.events_of("start")[-1]["iteration"] == (3 if done else 2)
    assert ("not finished when its process ended; an older checkpoint is used" in run.said) == (not done)
    assert checkpoints(run.folder) == [5, 6]
    assert sorted(path.name for path in run.folder.iterdir() if path.name.startswith((".", "checkpoint"))) == [
        f"checkpoint-00000000{at}{suffix}" for at in (5, 6) for suffix in (".json", ".pt")
    ]
