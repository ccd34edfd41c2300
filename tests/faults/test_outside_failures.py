"""Divergence and memory (fault 10), loader processes and their shared memory (fault 17)."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fault_makers import Environment, MemoryLimit, broken_step, full_gpu, tiny_shared_memory
from trainers import Trainer, ended, stop, until

from isoclock.files import read_json
from isoclock.tracking.records import read_sources
from tiny_study import write_plan

pytestmark = pytest.mark.xdist_group("faults")
FIGURES = r"method kd, crop {crop}, batch {batch}, peak \d+ MiB of the process"


def figures(crop: str = "32x64", batch: int = 2) -> str:
    return FIGURES.format(crop=crop, batch=batch)


def test_an_exploding_term_is_a_result_with_its_figures(trainer: Callable[..., Trainer]) -> None:
    run = trainer()
    run.study.edit("methods.yaml", "weights: {kd: 1.0}", "weights: {kd: 1.0e+38}")
    write_plan(run.study, iterations=40)
    assert run.run() == 0, run.said
    record = run.record
    assert record["status"] == "diverged"
    assert re.search(r"^loss is (nan|inf) in the 20 iterations up to 20; not finite: .*\bkd\b", record["message"])
    assert re.search(rf"last terms: .*kd .*\({figures()}\)$", record["message"])
    assert run.events_of("diverged")[0]["message"] == record["message"]


def test_out_of_memory_says_what_needs_it_and_changes_nothing(trainer: Callable[..., Trainer]) -> None:
    run = trainer()
    run.study.edit("training.yaml", "batch: 2", "batch: 256")
    run.study.edit("training.yaml", "crop: [32, 64]", "crop: [64, 128]")
    write_plan(run.study)
    for _ in range(2):  # a second start does not try with less
        assert run.run(MemoryLimit(more_mib=400)) == 2, run.said
        (failed, *_) = reversed(run.events_of("failed"))
        assert failed["reason"] == "out-of-memory"
        assert re.search(
            rf"^out of memory \({figures('64x128', 256)}\); batch and crop stay as they are", failed["message"]
        )
        assert "Traceback" not in run.said
        assert failed["message"] in run.said
        assert read_json(run.folder / "run.json", "student")["params"]["recipe"]["batch"] == 256
    assert not run.study.layout.student(run.cell).exists(), "it is a hole, and no result"
    (source,) = [found for found in read_sources(run.study.layout, [run.cell], []) if found.kind == "student"]
    assert (source.status, source.tags["status"]) == ("FAILED", "out-of-memory")
    assert source.tags["message"] == failed["message"]


def test_out_of_memory_while_profiling_and_scoring_is_one_line(trainer: Callable[..., Trainer]) -> None:
    run = trainer()
    write_plan(run.study)
    assert run.run() == 0, run.said
    run.study.edit("training.yaml", "batch: 2", "batch: 256")
    run.study.edit("training.yaml", "crop: [32, 64]", "crop: [64, 128]")
    assert run.run(MemoryLimit(more_mib=400), verb=("profile", "streets", "tiny", "kd")) == 2, run.said
    line = rf"^isoclock: profile streets/tiny/kd: out of memory \({figures('64x128', 256)}\); .*; the same command measures again$"
    assert re.search(line, run.said, re.MULTILINE), run.said
    assert not run.study.layout.profile("streets", "tiny", "kd").exists()
    run.study.edit("training.yaml", "crop: [64, 128]", "crop: [64, 128]\n    scoring: {short_side: 4000}")
    assert run.run(MemoryLimit(more_mib=200), verb=("evaluate", run.cell.path)) == 2, run.said
    line = rf"^isoclock: evaluate {run.cell.path}: out of memory \(whole images, peak \d+ MiB.*scores all images again$"
    assert re.search(line, run.said, re.MULTILINE), run.said
    assert not (run.study.layout.evaluation(run.cell) / "scores.json").exists()
    assert "Traceback" not in run.said


def test_a_full_gpu_is_reported_as_out_of_memory(trainer: Callable[..., Trainer]) -> None:
    run = trainer("none")
    write_plan(run.study, "none")
    assert run.run(full_gpu) == 2, run.said
    (failed,) = run.events_of("failed")
    assert failed["reason"] == "out-of-memory"
    assert re.search(r"^out of memory \(method none, crop 32x64, batch 2, peak \d+ MiB", failed["message"])
    assert "Traceback" not in run.said
    assert run.run() == 0, run.said
    assert "the previous process was killed" not in run.said, "it ended with its message"


def test_a_bug_gives_a_traceback_and_is_not_reported_as_a_kill(trainer: Callable[..., Trainer]) -> None:
    run = trainer()
    write_plan(run.study)
    assert run.run(broken_step) == 1, run.said
    assert "Traceback" in run.said
    (failed,) = run.events_of("failed")
    assert failed["reason"] == "error"
    assert re.search(rf"^KeyError: 'no such map' \({figures()}\)$", failed["message"]), failed["message"]
    (source,) = [found for found in read_sources(run.study.layout, [run.cell], []) if found.kind == "student"]
    assert (source.status, source.tags["status"]) == ("FAILED", "error")
    assert run.run() == 0, run.said
    assert "the previous process was killed" not in run.said


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_killed_loader_process_is_named_and_the_run_resumes(trainer: Callable[..., Trainer]) -> None:
    run = trainer()
    run.study.edit("training.yaml", "workers: 0", "workers: 2")
    write_plan(run.study, iterations=200)
    process = run.start()
    until(lambda: run.events_of("train"), "it trains, and so its loader processes run")
    victim = children(int(process.pid or 0))[-1]
    os.kill(victim, signal.SIGKILL)
    assert ended(process) == 2, run.said
    assert f"loader process {victim} " in run.said
    assert re.search(rf"\({figures()}\); if the machine ran out of memory", run.said)
    assert "the same command continues from the last checkpoint" in run.said
    assert "Traceback" not in run.said
    assert run.events_of("failed")[0]["reason"] == "loader-died"
    assert run.run() == 0, run.said
    assert run.record["iterations"] == {"planned": 200, "done": 200}


@pytest.mark.slow
def test_frozen_loader_processes_do_not_hold_up_a_stop(trainer: Callable[..., Trainer], tmp_path: Path) -> None:
    run = trainer()
    run.study.edit("training.yaml", "workers: 0", "workers: 2")
    write_plan(run.study, iterations=200)
    long = tmp_path / ("x" * 100)  # as TMPDIR, too long for the sockets of loader processes
    long.mkdir()
    process = run.start(Environment((("TMPDIR", str(long)),)))
    until(lambda: run.events_of("train"), "it trains")
    for loader in children(int(process.pid or 0)):
        os.kill(loader, signal.SIGSTOP)
    began = time.monotonic()
    assert stop(process) == 75, run.said
    assert time.monotonic() - began < 10, "it notices within a second, saves, and ends"
    assert run.events_of("stop")[0]["reason"] == "SIGTERM"
    assert "Traceback" not in run.said
    assert run.run() == 0, run.said
    assert run.record["iterations"] == {"planned": 200, "done": 200}


@pytest.mark.skipif(os.geteuid() != 0, reason="a /dev/shm of one's own needs root")
def test_exhausted_shared_memory_is_named_and_the_run_resumes(trainer: Callable[..., Trainer]) -> None:
    run = trainer()
    run.study.edit("training.yaml", "workers: 0", "workers: 2")
    run.study.edit("training.yaml", "batch: 2", "batch: 16")
    write_plan(run.study)
    assert run.run(tiny_shared_memory) == 2, run.said
    assert "shared memory is exhausted: loader processes hand batches over in /dev/shm" in run.said
    assert "give /dev/shm more room (containers: --shm-size), or take fewer workers" in run.said
    assert "Traceback" not in run.said
    assert run.events_of("failed")[0]["reason"] == "shared-memory"
    assert run.run() == 0, run.said
