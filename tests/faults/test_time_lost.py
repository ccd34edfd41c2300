"""The budget's clock over interruptions (fault 6)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
from fault_makers import SlowSteps
from trainers import Trainer, ended, stop, until

from isoclock.cli.main import main
from isoclock.runner.progress_file import ProgressFile
from tiny_study import write_plan

pytestmark = pytest.mark.xdist_group("faults")


def test_the_clock_over_three_interruptions(
    trainer: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, step_s, iterations = trainer("none"), 0.02, 140
    write_plan(run.study, "none", iterations=iterations)
    slowly = SlowSteps(step_s)
    for number, way in enumerate(["stop", "kill", "stop"]):
        process = run.start(slowly)
        run.until_event("train", segment=number)
        if way == "stop":
            assert stop(process) == 75, run.said
        else:
            process.kill()
            assert ended(process) == -9
            killed_unix = time.time()
            done = (ProgressFile(run.folder).read() or (0, 0.0))[0]
    assert run.run(slowly) == 0, run.said

    record, events = run.record, run.events
    assert [segment["ended"] for segment in record["segments"]] == ["stopped", "stopped", "finished"]
    spent_s = sum(segment["train_s"] for segment in record["segments"])
    assert record["clock"]["train_s"] == pytest.approx(spent_s, rel=0.01)
    assert record["iterations"] == {"planned": iterations, "done": iterations}
    # From below: no segment forgets a step that it did, whose least time is known. What is lost is of the steps done again.
    assert sum(segment["iterations"] for segment in record["segments"]) == iterations
    for segment in record["segments"]:
        assert segment["iterations"] > 0
        assert segment["train_s"] >= segment["iterations"] * step_s
    assert record["clock"]["train_s"] >= iterations * step_s
    # From above, by the wall: what the train clock counts fits into the time between a segment's first and last line.
    starts = [index for index, event in enumerate(events) if event["event"] == "start"]
    ends = [events[start - 1]["unix"] for start in (*starts[1:], len(events))]
    ends[1] = killed_unix
    wall_s = sum(end - events[start]["unix"] for start, end in zip(starts, ends, strict=True))
    assert spent_s + record["clock"]["lost_s"] <= wall_s * 1.01 + 0.01

    before, after = events[: starts[2]], events[starts[2]]
    lost_s = before[-1]["train_s"] - after["train_s"]
    assert done > after["iteration"]
    assert lost_s >= (done - after["iteration"]) * step_s * 0.99
    assert record["clock"]["lost_s"] == pytest.approx(lost_s, rel=0.01)
    assert (
        f"the previous process was killed; continuing from iteration {after['iteration']}, {lost_s:.1f} s" in run.said
    )

    monkeypatch.chdir(run.study.folder)
    monkeypatch.setenv("COLUMNS", "250")
    assert main(["audit", "--grid", "toy"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "none/iteration-6/0" in line]
    assert "lost-time" in line
    assert re.search(rf"\b{lost_s:.1f} s\b", line)


def test_training_since_the_last_ledger_line_is_counted(trainer: Callable[..., Trainer]) -> None:
    run, step_s = trainer("none"), 0.05
    write_plan(run.study, "none", iterations=40)
    process = run.start(SlowSteps(step_s))
    note = ProgressFile(run.folder)
    until(lambda: (note.read() or (0, 0.0))[0] >= 12, "twelve iterations are done")
    process.kill()
    assert ended(process) == -9
    killed_unix = time.time()
    assert not run.events_of("train"), "the ledger has no iteration yet"
    done, trained_s = note.read() or (0, 0.0)
    assert run.run() == 0, run.said
    lost_s = run.record["clock"]["lost_s"]
    assert lost_s == pytest.approx(trained_s, rel=0.01)
    assert done * step_s * 0.99 <= lost_s <= killed_unix - run.events_of("start")[0]["unix"]
    assert run.events_of("start")[1]["iteration"] == 0
    assert f"continuing from iteration 0, {lost_s:.1f} s of training lost so far" in run.said
