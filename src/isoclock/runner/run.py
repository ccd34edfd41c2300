"""The verbs `teacher` and `student`: a run from its inputs to its published record.

`train_teacher` and `train_student` resolve params/ into a job; what comes after knows the job only.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from isoclock.data.loading.prepared import PreparedData
from isoclock.digests import Digests
from isoclock.errors import UserError
from isoclock.files import check_writable, sha256_file
from isoclock.grid.cells import Cell, same_training
from isoclock.grid.layout import RunFiles
from isoclock.grid.stamps import student_stamp, teacher_stamp
from isoclock.progress import ProgressLine
from isoclock.protocol import check_version
from isoclock.records.document import read
from isoclock.records.plan import Plan
from isoclock.runner.device import choose_device
from isoclock.runner.environment import cuda_versions
from isoclock.runner.failures import as_user_error, figures
from isoclock.runner.lease import Lease
from isoclock.runner.ledger import Ledger
from isoclock.runner.publish import publish
from isoclock.runner.same_run import take_over
from isoclock.runner.session import Session
from isoclock.runner.spec import Spec, open_run
from isoclock.runner.teacher import trained_teacher, weights_digest
from isoclock.runner.totals import read_totals
from isoclock.scoring.last_validation import keep_validation, validation_inputs
from isoclock.scoring.score import OVERLAYS, score
from isoclock.scoring.target import Target
from isoclock.text import safe
from isoclock.training.anchor import AnchorMeter
from isoclock.training.assemble import assemble_step, open_bench
from isoclock.training.device import device_kind
from isoclock.training.loop import training_loop
from isoclock.training.warm_up import STEPS, is_worthwhile

if TYPE_CHECKING:
    from isoclock.grid.layout import Layout
    from isoclock.params.load import Params
    from isoclock.params.schema import MethodEntry, Model
    from isoclock.scoring.scores import Scores
    from isoclock.training.anchor import StepBench
    from isoclock.training.step import TrainingStep


@dataclass(frozen=True)
class _Job:
    """A run, and what it is made of."""

    spec: Spec
    data: PreparedData
    seed: int
    student: Model
    scored_from: str  # digest of what its validations depend on
    kept: Digests
    method: Sequence[MethodEntry] = ()
    teacher: tuple[Path, Model] | None = None  # folder of the trained teacher
    measured: bool = False  # in anchor-steps

    def step(self, device: torch.device) -> TrainingStep:
        """The training step before its first iteration. Raises ArtifactError for a file that is not the one in the record."""
        teacher, params = None, self.spec.params
        if self.teacher is not None:
            teacher = trained_teacher(*self.teacher, self.data, params["teacher"], self.kept)
        step = assemble_step(
            self.spec.recipe, self.student, self.data, device, seed=self.seed, method=self.method, teacher=teacher
        )
        # The file that the network starts from may have changed since its digest was recorded.
        start = params.get("student") or params["model"]
        if "weights_sha256" in start:
            again = f"start {self.spec.title} again"
            self.kept.check(Path(start["weights"]), start["weights_sha256"], "the file that it was at the start", again)
        return step

    def anchor(self, device: torch.device) -> AnchorMeter | None:
        """What measures anchor-steps in the course of the run."""

        def warm_bench() -> StepBench:
            bench = open_bench(self.spec.recipe, self.student, self.data, device)
            if is_worthwhile(bench.step):
                bench.run(STEPS)
            return bench

        return AnchorMeter(warm_bench, device) if self.measured else None


def train_teacher(
    params: Params, dataset: str, model: str, layout: Layout, device: torch.device | None = None, *, seed: int = 0
) -> str:
    """Train a teacher and publish weights, record and ledger. Returns the status (finished, stopped, diverged)."""
    target = Target.of_teacher(params, dataset, model, layout)
    stamp = teacher_stamp(params, dataset, model)
    data = PreparedData.open(target.data)
    assert target.recipe.iterations is not None
    spec = Spec(
        kind="teacher",
        cell={"dataset": dataset, "model": model, "seed": seed},
        title=f"teacher {dataset}/{model}",
        run_folder=layout.teacher_run(dataset, model),
        result_folder=target.trained,
        recipe=target.recipe,
        iterations=target.recipe.iterations,
        plan=None,
        params={"recipe": stamp["recipe"], "model": stamp["model"], "classes": data.classes},
        digests={"teacher": None, "data": data.digest, "code": stamp["code"], "plan": None},
    )
    job = _Job(spec, data, seed, target.model, validation_inputs(params, target), Digests(layout.digests))
    return _train(job, device or choose_device())


def train_student(params: Params, cell: Cell, layout: Layout, device: torch.device | None = None) -> str:
    """Train a student for exactly its planned iterations and publish it. Returns the status.

    Raises UserError when this device is of another kind than the plan's, ArtifactError for a plan of another protocol version.
    """
    device = device or choose_device()
    target = Target.of_cell(params, cell, layout)
    method = params.method_parts(cell.method, cell.dataset)
    data = PreparedData.open(target.data)
    plan_path = layout.plan(cell.dataset, cell.pair, cell.method, cell.budget)
    where = f"{cell.dataset} {cell.pair} {cell.budget} {cell.method}"
    plan = read(plan_path, Plan, f"plan {where}")
    check_version(plan_path, plan, f"plan again (isoclock plan {where})")
    if device_kind(device) != plan.device_kind:
        raise UserError(
            f"{plan_path}: planned for {plan.device_kind}, but this is {device_kind(device)}; times are not comparable "
            f"across device kinds: run the cell there, or profile here (isoclock profile {cell.dataset} {cell.pair} {cell.method})"
        )
    stamp = student_stamp(params, cell)
    teacher = None
    if params.has_teacher(cell.method, cell.dataset):
        name = params.pair(cell.pair).teacher
        teacher = layout.teacher(params.teacher_dataset(cell.dataset), name), params.model(name)
    spec = Spec(
        kind="student",
        cell=cell.as_dict(),
        title=f"student {cell.path}",
        run_folder=layout.student_run(cell),
        result_folder=target.trained,
        recipe=target.recipe,
        iterations=plan.iterations,
        plan=plan,
        params={key: stamp[key] for key in ("recipe", "student", "teacher", "method")} | {"classes": data.classes},
        digests={
            "teacher": None if teacher is None else weights_digest(teacher[0]),
            "data": data.digest,
            "code": stamp["code"],
            "plan": sha256_file(plan_path),
        },
    )
    if (status := take_over(spec, same_training(params, cell), layout)) is not None:
        print(f"isoclock: {spec.title}: the same training as a published cell; its result is used", flush=True)
        return status
    scored_from, kept = validation_inputs(params, target), Digests(layout.digests)
    return _train(_Job(spec, data, cell.seed, target.model, scored_from, kept, method, teacher, measured=True), device)


def _train(job: _Job, device: torch.device) -> str:
    """Run a job to its end or to a stop signal; returns the status."""
    spec, ledger_path = job.spec, RunFiles(job.spec.run_folder).ledger
    describe = partial(figures, spec.cell.get("method", "none"), spec.recipe, device)
    in_one_line = partial(as_user_error, spec.title, describe)
    with in_one_line(), Lease(spec.run_folder) as lease, in_one_line(partial(_record_failure, ledger_path)):
        check_writable(spec.result_folder)
        with ProgressLine(f"{spec.title}: checks its data and builds its networks"):
            job.data.verify(job.data.splits_of(spec.recipe), job.kept)
            run, complaints = open_run(spec)
            started = time.monotonic()
            step = job.step(device)
        validated: tuple[int, Scores] | None = None  # the last validation, and after how many iterations

        def evaluate() -> dict[str, Any]:
            nonlocal validated
            scores = score(step.student, job.data, spec.recipe, device, overlays=OVERLAYS)
            validated = loop.iteration, scores
            return {"miou": scores.miou, "per_class": scores.per_class_iou(job.data.classes)}

        loop = training_loop(
            step,
            job.data,
            seed=job.seed,
            iterations=spec.iterations,
            evaluate=evaluate,
            measure_anchor=job.anchor(device),
        )
        ledger = Ledger(ledger_path)
        session = Session(loop, spec.run_folder, ledger, run.run_id, may_write=lease.check, describe=describe)
        complaints = [*filter(None, [lease.taken_over]), *complaints, *session.resume()]
        segment = {
            "started_unix": round(time.time(), 3),
            "device_kind": device_kind(device),
            "threads": torch.get_num_threads(),
            "torch": str(torch.__version__),
            **cuda_versions(device),
            "startup_s": round(time.monotonic() - started, 3),
        }
        state = session.state
        if (ended := session.ended()) is None:
            complaints += _other_hardware(spec.run_folder, state.segments, segment)
            complaints += _killed_message(session, spec.title)
        start = {"run_id": run.run_id, "inputs": run.inputs, "segment": len(state.segments)}
        ledger.append("start", state.iteration, **start, train_s=loop.clock.train_s)
        for complaint in complaints:
            ledger.append("complaint", state.iteration, message=complaint)
            print(f"isoclock: {complaint}", flush=True)
        # A run that has ended is published again, not trained again: its outputs may have been removed.
        outcome = session.run(segment, spec.title) if ended is None else session.outcome(ended)
        if outcome.status == "stopped":
            return outcome.status
        lease.check()
        digests = publish(spec, run, step, outcome, device, ledger, session.checkpoint_every_s, job.data.images)
        if outcome.status == "finished" and validated is not None and validated[0] == spec.iterations:
            keep_validation(spec.result_folder, validated[1], job.scored_from, digests.weights)
        return outcome.status


def _record_failure(ledger_path: Path, reason: str, message: str) -> None:
    with suppress(OSError):  # the disk may be what is full
        ledger = Ledger(ledger_path)
        last = read_totals(ledger.path).last
        ledger.append("failed", last["iteration"] if last else 0, reason=reason, message=safe(message))
        ledger.close()


def _other_hardware(folder: Path, segments: Sequence[dict[str, Any]], segment: dict[str, Any]) -> list[str]:
    """Complaints about another CUDA or cuDNN version than in earlier segments: the cell is marked `mixed-hardware`.

    Raises UserError for another device kind, number of threads or version of torch.
    """
    names = {"device_kind": "", "threads": " CPU threads", "torch": " as torch"}
    for before in segments:
        for key, name in names.items():
            if key in before and before[key] != segment[key]:
                raise UserError(
                    f"{folder}: started on {before[key]}{name} but this is {segment[key]}; cells trained on both are excluded "
                    f"from matched tables: continue where it started, or remove this folder to start again here"
                )
    others = {
        f"{folder}: started with {name} {before[key]} but this is {segment[key]}; the cell is marked mixed-hardware and "
        f"excluded from matched tables: remove this folder to start again with one version"
        for before in segments
        for key, name in (("cuda", "CUDA"), ("cudnn", "cuDNN"))
        if before.get(key) != segment.get(key)
    }
    return sorted(others)


def _killed_message(session: Session, title: str) -> list[str]:
    """What to report where the previous process was killed."""
    last, state = session.before.last, session.state
    if last is None or last["event"] in ("stop", "failed"):
        return []
    return [
        f"{title}: the previous process was killed; continuing from iteration {state.iteration}, "
        f"{state.lost_s:.1f} s of training lost so far"
    ]
