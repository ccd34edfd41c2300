"""The verbs `teacher` and `student`: a run from its inputs to its published record."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch

from isoclock.data.loading.prepared import PreparedData
from isoclock.errors import UserError
from isoclock.files import sha256_file
from isoclock.grid.cells import Cell, same_training
from isoclock.grid.layout import Layout
from isoclock.grid.stamps import student_stamp, teacher_stamp
from isoclock.params.load import Params
from isoclock.records.document import read
from isoclock.records.plan import Plan
from isoclock.records.protocol import check_version
from isoclock.records.record import TeacherRecord
from isoclock.runner.failures import figures, told_in_one_line
from isoclock.runner.lease import Lease
from isoclock.runner.ledger import Ledger, read_ledger
from isoclock.runner.publish import publish
from isoclock.runner.same_run import take_over
from isoclock.runner.spec import Spec, open_run
from isoclock.scoring.last_validation import keep_validation, validation_inputs
from isoclock.scoring.score import OVERLAYS, score
from isoclock.scoring.scores import Scores
from isoclock.scoring.target import Target
from isoclock.training.anchor import AnchorMeter, StepBench
from isoclock.training.assemble import assemble_step, trained_teacher
from isoclock.training.device import choose_device, device_kind, use_threads
from isoclock.training.loop import Engine, Hooks
from isoclock.training.step import TrainingStep

ANCHOR_SEED = 104729  # its batches are nobody's training data order
PRETRAIN_SEED = 15485863  # added to a run's: pre-training sees the samples in an order of its own


def train_teacher(params: Params, dataset: str, model: str, layout: Layout, *, seed: int = 0) -> str:
    """Train a teacher and publish weights, record and ledger. Returns the status (finished, stopped, diverged)."""
    recipe = params.recipe(dataset, "teacher")
    stamp = teacher_stamp(params, dataset, model)
    data = PreparedData.open(layout.prepared(dataset))
    assert recipe.iterations is not None
    spec = Spec(
        kind="teacher",
        cell={"dataset": dataset, "model": model, "seed": seed},
        title=f"teacher {dataset}/{model}",
        run_folder=layout.teacher_run(dataset, model),
        result_folder=layout.teacher(dataset, model),
        recipe=recipe,
        iterations=recipe.iterations,
        plan=None,
        params={"recipe": stamp["recipe"], "model": stamp["model"], "classes": data.classes},
        digests={"teacher": None, "data": data.digest, "code": stamp["code"], "plan": None},
    )
    device = choose_device()

    def build() -> TrainingStep:
        return assemble_step(recipe, params.model(model), data, device, seed=seed)

    inputs = validation_inputs(params, Target.of_teacher(params, dataset, model, layout))
    return _run(spec, data, device, build, seed, inputs, anchor=None)


def train_student(params: Params, cell: Cell, layout: Layout) -> str:
    """Train a student for exactly its planned iterations and publish it. Returns the status.

    Raises UserError when this device is of another kind than the plan's, ArtifactError for a plan of another protocol version.
    """
    recipe = params.recipe(cell.dataset, "student")
    pair, method = params.pair(cell.pair), params.method_parts(cell.method, cell.dataset)
    data = PreparedData.open(layout.prepared(cell.dataset))
    plan_path = layout.plan(cell.dataset, cell.pair, cell.method, cell.budget)
    where = f"{cell.dataset} {cell.pair} {cell.budget} {cell.method}"
    plan = read(plan_path, Plan, f"plan {where}")
    check_version(plan_path, plan, f"plan again (isoclock plan {where})")
    device = choose_device()
    if device_kind(device) != plan.device_kind:
        raise UserError(
            f"{plan_path}: planned for {plan.device_kind}, and this is {device_kind(device)}; times are not comparable "
            f"across device kinds: run the cell there, or profile here (isoclock profile {cell.dataset} {cell.pair} {cell.method})"
        )
    stamp = student_stamp(params, cell)
    has_teacher = params.has_teacher(cell.method, cell.dataset)
    taught_by = params.teacher_dataset(cell.dataset), pair.teacher
    spec = Spec(
        kind="student",
        cell=cell.as_dict(),
        title=f"student {cell.path}",
        run_folder=layout.student_run(cell),
        result_folder=layout.student(cell),
        recipe=recipe,
        iterations=plan.iterations,
        plan=plan,
        params={key: stamp[key] for key in ("recipe", "student", "teacher", "method")} | {"classes": data.classes},
        digests={
            "teacher": _weights_of(layout.teacher(*taught_by)) if has_teacher else None,
            "data": data.digest,
            "code": stamp["code"],
            "plan": sha256_file(plan_path),
        },
    )

    if (status := take_over(spec, same_training(params, cell), layout)) is not None:
        print(f"isoclock: {spec.title}: the same training as a cell that is there; taken over", flush=True)
        return status

    def build() -> TrainingStep:
        teacher = trained_teacher(params, *taught_by, data, layout) if has_teacher else None
        return assemble_step(
            recipe, params.model(pair.student), data, device, seed=cell.seed, method=method, teacher=teacher
        )

    def open_anchor() -> StepBench:
        step = assemble_step(recipe, params.model(pair.student), data, device, seed=ANCHOR_SEED)
        return StepBench(step, data.training_batches(recipe, ANCHOR_SEED))

    inputs = validation_inputs(params, Target.of_cell(params, cell, layout))
    return _run(spec, data, device, build, cell.seed, inputs, anchor=AnchorMeter(open_anchor))


def _weights_of(teacher: Path) -> str:
    """Digest of a trained teacher's weights."""
    return read(teacher / "record.json", TeacherRecord, "teacher").digests.weights


def _run(
    spec: Spec,
    data: PreparedData,
    device: torch.device,
    build: Callable[[], TrainingStep],
    seed: int,
    scored_from: str,
    *,
    anchor: AnchorMeter | None,
) -> str:
    def describe() -> str:
        return figures(spec.cell.get("method", "none"), spec.recipe, device)

    def tell(reason: str, message: str) -> None:
        with suppress(OSError):  # the disk may be what is full
            ledger = Ledger(spec.run_folder / "ledger.jsonl")
            last = read_ledger(ledger.path)[-1:]
            ledger.append("failed", last[0]["iteration"] if last else 0, reason=reason, message=message)
            ledger.close()

    in_one_line = partial(told_in_one_line, spec.title, describe)
    with in_one_line(), Lease(spec.run_folder) as lease, in_one_line(tell):
        run = open_run(spec)
        started = time.monotonic()
        use_threads(spec.recipe.threads)
        step = build()
        ledger = Ledger(spec.run_folder / "ledger.jsonl")

        validated: tuple[int, Scores] | None = None  # the last validation, and after how many iterations

        def evaluate() -> dict[str, Any]:
            nonlocal validated
            scores = score(step.student, data, spec.recipe, device, overlays=OVERLAYS)
            validated = engine.state.iteration, scores
            return {"miou": scores.miou, "per_class": scores.per_class_iou(data.classes)}

        hooks = Hooks(
            open_stream=lambda at: data.training_batches(spec.recipe, seed, start=at, iterations=spec.iterations - at),
            evaluate=evaluate,
            measure_anchor=anchor,
            open_pretraining=lambda at: data.training_batches(spec.recipe, seed + PRETRAIN_SEED, start=at),
            may_write=lease.check,
            describe=describe,
        )
        engine = Engine(step, spec.iterations, spec.run_folder, ledger, hooks)
        complaints = [*filter(None, [lease.taken_over]), *engine.resume()]
        segment = {
            "started_unix": round(time.time(), 3),
            "device_kind": device_kind(device),
            "threads": torch.get_num_threads(),
            "torch": str(torch.__version__),
            "startup_s": round(time.monotonic() - started, 3),
        }
        at_s, number = engine.clock.train_s, len(engine.state.segments)
        ended = engine.state.segments[-1]["ended"] if engine.state.segments else "killed"
        if ended not in ("finished", "diverged"):
            _refuse_what_it_did_not_begin_on(spec.run_folder, engine.state.segments, segment)
            complaints += _of_a_kill(ledger.path, spec.title, engine)
        ledger.append("start", engine.state.iteration, run_id=run.run_id, segment=number, train_s=at_s)
        for complaint in complaints:
            ledger.append("complaint", engine.state.iteration, message=complaint)
            print(f"isoclock: {complaint}", flush=True)
        # A run that has ended is published again, not trained again: its outputs may have been removed.
        outcome = engine.outcome(ended) if ended in ("finished", "diverged") else engine.run(segment, spec.title)
        if outcome.status == "stopped":
            return outcome.status
        lease.check()
        digests = publish(spec, run, step, outcome, device, ledger, engine.checkpoint_every_s, data.images)
        if outcome.status == "finished" and validated is not None and validated[0] == spec.iterations:
            keep_validation(spec.result_folder, validated[1], scored_from, digests.weights)
        return outcome.status


def _refuse_what_it_did_not_begin_on(folder: Path, segments: Sequence[dict[str, Any]], segment: dict[str, Any]) -> None:
    """Raise UserError where a run would go on with what makes other bits or other times than it began with."""
    names = {"device_kind": "", "threads": " CPU threads", "torch": " as torch"}
    for before in segments:
        for key, name in names.items():
            if key in before and before[key] != segment[key]:
                raise UserError(
                    f"{folder}: begun with {before[key]}{name}, and here it is {segment[key]}; what is trained in parts on "
                    f"both is in no matched table: go on where it began, or remove this folder to begin again here"
                )


def _of_a_kill(ledger: Path, title: str, engine: Engine) -> list[str]:
    """What to say where the process before this one ended without a word."""
    events = [event for event in read_ledger(ledger) if event["event"] != "pulse"]
    if not events or events[-1]["event"] in ("stop", "failed"):
        return []
    at, lost_s = engine.state.iteration, engine.state.lost_s
    return [
        f"{title}: the process before was killed; going on from iteration {at}, {lost_s:.1f} s of training lost so far"
    ]
