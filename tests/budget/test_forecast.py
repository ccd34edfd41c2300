"""What a grid will take: from profiles where they are, from FLOPs elsewhere, and nothing is written."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

import documents
from documents import changed
from isoclock.budget import flops, known_flops
from isoclock.budget.forecast import forecast
from isoclock.budget.forecast_rows import ForecastRow
from isoclock.budget.step_cost import ASSUMED_TFLOPS, ESTIMATED, KEPT_CHECKPOINTS, MEASURED
from isoclock.cli.main import main
from isoclock.records.document import write
from isoclock.runner.checkpoint import KEPT
from tiny_study import TinyStudy, cell

METHODS = ("none", "kd", "fitnet", "cwd", "mgd")
COSTS = {"none": 1.0, "kd": 2.0, "fitnet": 2.5, "cwd": 2.0, "mgd": 4.0}
ANCHOR_S = 36.0  # so that a hundred anchor-steps are an hour


def put_profiles(study: TinyStudy, *methods: str, **changes: Any) -> None:
    for method in methods:
        profile = documents.profile(method, COSTS[method], anchor_s=ANCHOR_S, **changes)
        write(study.layout.profile("streets", "tiny", method), changed(profile, gflops={"total": COSTS[method] * 72.0}))


def accept(study: TinyStudy, **changes: Any) -> None:
    write(study.layout.accepted_budget("streets", "tiny", "compute-6"), documents.accepted_budget(**changes))


def row(study: TinyStudy, stage: str, **arguments: Any) -> ForecastRow:
    (found,) = forecast(study.params, "toy", study.layout, **arguments).of(stage)
    return found


def test_jobs_of_every_stage_with_nothing_there(empty_study: TinyStudy) -> None:
    found = forecast(empty_study.params, "toy", empty_study.layout)
    assert [(row.stage, row.jobs, row.made) for row in found.rows] == [
        ("prepare", 1, 0), ("teacher", 1, 0), ("profile", 5, 0), ("plan", 12, 0), ("student", 10, 0),
        ("evaluate", 1, 0), ("evaluate", 10, 0),
    ]  # fmt: skip
    assert (found.tflops, found.tflops_from) == (ASSUMED_TFLOPS, "assumed: give yours with --tflops")
    assert {row.basis for row in found.rows if row.stage in ("teacher", "profile", "student")} == {ESTIMATED}
    assert [row.hours for row in found.of("evaluate")] == [None, None], "of the teacher, and of its students"
    assert not found.as_json()["total"]["complete"]
    assert not (empty_study.folder / "results").exists()


def test_students_take_what_was_measured(empty_study: TinyStudy) -> None:
    put_profiles(empty_study, *METHODS)
    found = row(empty_study, "student")
    iteration = 6 * sum(COSTS.values())
    compute = (len(METHODS) - 1) * 6 * COSTS["kd"]  # the yardstick's own cell is the same training as under iteration-6
    assert found.hours == found.hours_left == pytest.approx((iteration + compute) / 100)
    assert found.basis == MEASURED


def test_what_was_measured_under_another_version_is_not_measured(empty_study: TinyStudy) -> None:
    put_profiles(empty_study, *METHODS, protocol_version=1)
    assert (row(empty_study, "student").basis, row(empty_study, "profile").made) == (ESTIMATED, 5)
    put_profiles(empty_study, *METHODS)
    now = row(empty_study, "student").hours
    accept(empty_study, anchor_steps=20.0, protocol_version=1)
    assert row(empty_study, "student").hours == now, "a budget of version 1 is resolved again"


def test_an_accepted_budget_holds_whatever_a_new_profile_says(empty_study: TinyStudy) -> None:
    put_profiles(empty_study, *METHODS)
    accept(empty_study, anchor_steps=20.0)
    assert row(empty_study, "student").hours == pytest.approx((6 * sum(COSTS.values()) + 5 * 20) / 100)


def test_a_pre_training_is_charged_within_the_budget(empty_study: TinyStudy) -> None:
    put_profiles(empty_study, *METHODS)
    before = row(empty_study, "student").hours
    put_profiles(empty_study, "mgd", pretrain={"iterations": 100, "ratio": 0.5, "low": 0.4, "high": 0.6})
    after = row(empty_study, "student").hours
    assert before is not None
    assert after == pytest.approx(before + 0.5)  # under protocol iteration; a compute budget stays what it is


def test_what_was_not_measured_is_estimated_at_the_rate_of_what_was(empty_study: TinyStudy) -> None:
    put_profiles(empty_study, "none", "kd")
    found = forecast(empty_study.params, "toy", empty_study.layout)
    assert found.tflops == pytest.approx(72e9 / ANCHOR_S / 1e12)
    assert "2 profiles on cpu:test" in found.tflops_from
    assert found.of("student")[0].basis == f"{MEASURED}, rest {ESTIMATED}"


def test_a_given_rate_stands_above_all(empty_study: TinyStudy) -> None:
    put_profiles(empty_study, "kd")
    slow, fast = (row(empty_study, "teacher", tflops=rate).hours for rate in (1.0, 2.0))
    assert slow is not None
    assert fast is not None
    assert slow == pytest.approx(2 * fast)
    assert row(empty_study, "profile", tflops=1.0).basis == f"{MEASURED}, rest {ESTIMATED}"


def test_what_is_made_is_not_left(empty_study: TinyStudy) -> None:
    put_profiles(empty_study, *METHODS)
    layout, whole = empty_study.layout, row(empty_study, "student").hours
    done = cell("mgd")
    write(layout.student(done) / "record.json", documents.student_record(done))
    found = row(empty_study, "student")
    assert (found.made, found.hours) == (1, whole)
    assert found.hours_left == pytest.approx(found.hours - 6 * COSTS["mgd"] / 100)
    assert any("snakemake -n" in note for note in forecast(empty_study.params, "toy", layout).notes)


def test_a_trained_teacher_tells_its_own_time(empty_study: TinyStudy) -> None:
    record = documents.teacher_record(clock={"train_s": 1800.0}, iterations={"done": 3})
    write(empty_study.layout.teacher("streets", "small") / "record.json", record)
    found = row(empty_study, "teacher")
    assert (found.hours, found.hours_left, found.basis) == (pytest.approx(1.0), 0.0, MEASURED)


def test_a_shared_teacher_is_counted_once(shared_study: TinyStudy) -> None:
    params, layout = shared_study.params, shared_study.layout
    (alone,) = forecast(params, "toy", layout).of("teacher")
    for grid in ("both", "avenues"):
        assert forecast(params, grid, layout).of("teacher") == [alone]
    assert {row.where for row in forecast(params, "avenues", layout).of("prepare")} == {"avenues", "streets"}


def test_scores_take_time_once_the_images_are_known(prepared_study: TinyStudy) -> None:
    teacher, students = forecast(prepared_study.params, "toy", prepared_study.layout).of("evaluate")
    assert (teacher.where, students.where) == ("streets/small", "streets/tiny")
    assert teacher.hours is not None
    assert students.hours is not None
    assert students.hours > teacher.hours > 0
    prepared_study.edit("training.yaml", "    evaluations: 2\n", "    evaluations: 0\n")
    (once, _) = forecast(prepared_study.params, "toy", prepared_study.layout).of("evaluate")
    assert once.hours == pytest.approx(teacher.hours / 2), "the last of two validations is taken over"
    assert row(prepared_study, "prepare").made == 1


def test_a_loss_that_cannot_be_counted_is_named(empty_study: TinyStudy) -> None:
    empty_study.edit("methods.yaml", "method: cwd\n", "method: rkd\n")
    empty_study.edit("methods.yaml", "{tap: logit, temperature: 4.0}", "{}")
    empty_study.edit("methods.yaml", "{cwd: 3.0}", "{distance: 1.0, angle: 1.0}")
    (_, note, *_) = forecast(empty_study.params, "toy", empty_study.layout).notes
    assert "losses of cwd are not in the estimate" in note


def test_the_verb_prints_a_table_or_json(
    empty_study: TinyStudy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put_profiles(empty_study, *METHODS)
    monkeypatch.chdir(empty_study.folder)
    assert main(["plan", "--grid", "toy", "--dry"]) == 0
    shown = capsys.readouterr().out
    assert "streets/tiny" in shown
    assert "From FLOPs" in shown
    assert main(["plan", "--grid", "toy", "--dry", "--json", "--tflops", "1"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert (output["grid"], output["tflops_from"]) == ("toy", "given")
    hours = sum(row["hours"] for row in output["rows"] if row["hours"] is not None)
    assert output["total"]["hours"] == pytest.approx(hours)
    assert output["stages"]["student"]["jobs"] == 10


def test_disk_space_of_packed_images_and_weights(taught_study: TinyStudy) -> None:
    layout = taught_study.layout
    found = forecast(taught_study.params, "toy", layout)
    (prepared,), (teacher,), (student,) = (found.of(stage) for stage in ("prepare", "teacher", "student"))
    packed = sum(path.stat().st_size for path in layout.prepared("streets").iterdir() if path.name != "index.json")
    assert prepared.gb == pytest.approx(packed / 1e9)
    weights = layout.teacher_files("streets", "small").weights
    checkpoints = [*layout.teacher_run("streets", "small").glob("checkpoint-*.pt")]
    assert len(checkpoints) <= KEPT_CHECKPOINTS == KEPT
    kept = weights.stat().st_size + KEPT_CHECKPOINTS * checkpoints[0].stat().st_size
    assert teacher.gb == pytest.approx(kept / 1e9, rel=0.2), "but for headers"
    once = flops.network_gb(taught_study.params.model("tiny"), 19)
    assert student.gb == pytest.approx(10 * 5 * once)
    assert found.as_json()["total"]["gb"] == pytest.approx(prepared.gb + teacher.gb + student.gb)


def test_before_data_are_prepared_their_space_is_not_known(
    empty_study: TinyStudy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert row(empty_study, "prepare").gb is None
    monkeypatch.chdir(empty_study.folder)
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["plan", "--grid", "toy", "--dry"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^ total .* >= \d", shown, re.MULTILINE)
    assert max(map(len, shown.splitlines())) <= 80


def count_again(*_: Any) -> float:
    raise AssertionError("FLOPs are counted again")


def test_flops_are_counted_once(prepared_study: TinyStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    put_profiles(prepared_study, "kd")
    params, layout = prepared_study.params, prepared_study.layout
    first = forecast(params, "toy", layout)
    for name in ("training_gflops", "scoring_gflops", "method_gflops"):
        monkeypatch.setattr(flops, name, count_again)
    assert forecast(params, "toy", layout) == first
    for change in ("batch: 2", "head_channels: 24"):
        file = {"b": "training.yaml", "h": "models.yaml"}[change[0]]
        prepared_study.edit(file, change, f"{change}0")
        with pytest.raises(AssertionError, match="counted again"):
            forecast(prepared_study.params, "toy", layout)
        prepared_study.edit(file, f"{change}0", change)
    monkeypatch.setattr(known_flops, "version", lambda _: "9.9")
    with pytest.raises(AssertionError, match="counted again"):
        forecast(params, "toy", layout)


@pytest.mark.parametrize("content", [b"\xff", b"[]", b'{"code": "", "gflops": {"a": 7}}'], ids=range(3))
def test_a_damaged_file_of_flops_is_written_again(
    empty_study: TinyStudy, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    put_profiles(empty_study, *METHODS)
    params, layout = empty_study.params, empty_study.layout
    layout.runs.mkdir()
    layout.counted_flops().write_bytes(content)
    first = forecast(params, "toy", layout)
    monkeypatch.setattr(flops, "training_gflops", count_again)
    assert forecast(params, "toy", layout) == first


def test_where_nothing_can_be_written_flops_are_counted_again(empty_study: TinyStudy) -> None:
    put_profiles(empty_study, *METHODS)
    empty_study.layout.runs.write_text("a file where the folder would be")
    first, second = (forecast(empty_study.params, "toy", empty_study.layout) for _ in range(2))
    assert first == second


def calls(study: TinyStudy, seeds: int) -> int:
    """Functions of Python that are called for a forecast of ten cells for each seed."""
    grid = study.folder / "params" / "grids" / "toy.yaml"
    grid.write_text(re.sub(r"seeds: .*", f"seeds: {list(range(seeds))}", grid.read_text()))
    params, count = study.params, 0

    def counted(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(counted)
    try:
        found = forecast(params, "toy", study.layout)
    finally:
        sys.setprofile(None)
    assert sum(row.jobs for row in found.of("student")) == 10 * seeds
    return count


def test_the_work_is_proportional_to_the_cells(empty_study: TinyStudy) -> None:
    put_profiles(empty_study, *METHODS)
    calls(empty_study, 1)  # counts FLOPs
    few, some, many = (calls(empty_study, seeds) for seeds in (10, 20, 100))
    assert many - some == pytest.approx(8 * (some - few), rel=0.01)


@pytest.mark.parametrize(
    "arguments",
    [["streets", "tiny", "--dry"], ["streets", "tiny"], ["streets", "tiny", "compute-6", "--grid", "toy"], ["--json"]],
)
def test_two_ways_to_ask_are_not_mixed(
    empty_study: TinyStudy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    monkeypatch.chdir(empty_study.folder)
    assert main(["plan", *arguments]) == 2
    assert "--dry" in capsys.readouterr().err
    assert not Path("results").exists()
