"""The documents that verbs exchange, made from their models, so that each is as a verb would write it.

Every function takes changes to the values, nested ones as dicts: `profile(cost={"ratio": 2.0})`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from isoclock.grid.cells import Cell
from isoclock.records.document import Document, build, plain
from isoclock.records.index import Index
from isoclock.records.plan import AcceptedBudget, Plan
from isoclock.records.profile import Profile
from isoclock.records.record import StudentRecord, TeacherRecord
from isoclock.records.run import StudentRun, TeacherRun
from isoclock.records.scores import ScoreDocument

AnyDocument = TypeVar("AnyDocument", bound=Document)
CELL = Cell("streets", "tiny", "kd", "compute-6", 0)
DEVICE_KIND = "cpu:test"
STARTED_UNIX = 1_700_000_000.0
CLASSES = ("road", "car", "sky")
RECIPE = {"lr": 0.01, "batch": 2, "crop": [64, 128]}


def digest(*parts: object) -> str:
    """A SHA-256 that stands for what `parts` name."""
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()


def changed(document: AnyDocument, **changes: Any) -> AnyDocument:
    """A document with other values."""
    return build(type(document), _merged(plain(document), changes))


def profile(
    method: str = "kd",
    ratio: float = 1.5,
    *,
    dataset: str = "streets",
    pair: str = "tiny",
    anchor_s: float = 0.1,
    **changes: Any,
) -> Profile:
    """The cost profile of a method."""
    step_s = ratio * anchor_s
    gflops = {"teacher": 20.0, "student": 11.0, "loss": 1.0, "backward": 22.0, "total": 54.0}
    shares = {"data": 0.02, "teacher": 0.3, "student": 0.22, "loss": 0.06, "backward": 0.35, "optimiser": 0.05}
    content = {
        "dataset": dataset,
        "pair": pair,
        "method": method,
        "implementation": "tuned" if method.endswith(".tuned") else "reference",
        "device_kind": DEVICE_KIND,
        "threads": 1,
        "precision": "fp32",
        "loss_precision": "autocast",
        "matmul_precision": "highest",
        "cudnn_benchmark": False,
        "teacher_inference": "eager",
        "compile": "none",
        "batch": 2,
        "unlabelled_per_batch": 0,
        "images": {"labelled": 3, "unlabelled": 0},
        "crop": [64, 128],
        "cost": {"ratio": ratio, "low": 0.985 * ratio, "high": 1.02 * ratio},
        "sensitivity": None,
        "step_s": _quartiles(step_s),
        "anchor_s": _quartiles(anchor_s),
        "windows": [{"anchor_s": anchor_s, "step_s": step_s, "ratio": ratio}] * 3,
        "sustained_ratio": ratio,
        "shares": shares | {"adversary": 0.0},
        "loader_core_s": 0.01,
        "loader_share": None,
        "pretrain": None,
        "peak_mib": 321.0,
        "gflops": gflops,
        "energy_j": None,
        "gpu": None,
        "marks": [],
        "not_compiled": [],
        "measured_unix": STARTED_UNIX - 1000,
        "environment": {"python": "3.11.7", "torch": "2.14.1"},
        "digests": {
            "code": digest("code", method),
            "data": digest("data", dataset),
            "inputs": digest("inputs", method),
        },
    }
    return build(Profile, _merged(content, changes))


def gpu_state(**changes: Any) -> dict[str, Any]:
    """What NVML reported of a GPU that was not throttled."""
    state = {
        "samples": 300,
        "sm_clock_mhz": {"low": 1200.0, "median": 1755.0, "high": 1980.0},
        "max_sm_clock_mhz": 1980.0,
        "power_w": {"low": 400.0, "median": 612.0, "high": 690.0},
        "power_limit_w": 700.0,
        "temperature_c": {"low": 40.0, "median": 64.0, "high": 66.0},
        "throttled": {},
    }
    return state | changes


def accepted_budget(
    budget: str = "compute-6", *, dataset: str = "streets", pair: str = "tiny", **changes: Any
) -> AcceptedBudget:
    """A compute budget of 9 anchor-steps, resolved with `kd`."""
    content = {
        "dataset": dataset,
        "pair": pair,
        "budget": budget,
        "protocol": "compute",
        "iterations": 6,
        "yardstick": "kd",
        "anchor_steps": 9.0,
        "device_kind": DEVICE_KIND,
        "marks": [],
        "entry": digest("entry", budget),
    }
    return build(AcceptedBudget, _merged(content, changes))


def plan(
    cell: Cell = CELL, iterations: int = 6, cost_ratio: float = 1.5, anchor_s: float = 0.1, **changes: Any
) -> Plan:
    """The plan of a cell; its protocol is in its budget's name."""
    protocol, steps = cell.budget.split("-")[0], iterations * cost_ratio
    content = {
        "dataset": cell.dataset,
        "pair": cell.pair,
        "method": cell.method,
        "budget": cell.budget,
        "protocol": protocol,
        "iterations": iterations,
        "epochs": {"labelled": iterations * 2 / 3, "unlabelled": 0.0},
        "cost_ratio": cost_ratio,
        "pretrain_anchor_steps": 0.0,
        "anchor_steps": steps,
        "anchor_s": anchor_s,
        "planned_s": steps * anchor_s,
        "device_kind": DEVICE_KIND,
        "budget_anchor_steps": steps if protocol == "compute" else None,
        "yardstick": "kd" if protocol == "compute" else None,
        "marks": [],
    }
    return build(Plan, _merged(content, changes))


def student_run(cell: Cell = CELL, planned: Plan | None = None, **changes: Any) -> StudentRun:
    """A student's live run."""
    planned = plan(cell) if planned is None else planned
    content = {
        **_of_student(cell, planned),
        "inputs": digest("inputs", cell.path),
        "iterations": {"planned": planned.iterations},
    }
    return build(StudentRun, _merged(content, changes))


def student_record(
    cell: Cell = CELL, planned: Plan | None = None, segments: Sequence[Mapping[str, Any]] | None = None, **changes: Any
) -> StudentRecord:
    """A student's record, of one segment that kept its plan exactly unless `segments` are given."""
    planned = plan(cell) if planned is None else planned
    if segments is None:
        segments = [segment(planned.planned_s, planned.anchor_s, iterations=planned.iterations)]
    content = {
        **_of_student(cell, planned),
        **_published(planned.iterations, segments),
        "digests": _digests(code=cell.method, teacher="teacher", plan=cell.path) | {"weights": digest(cell.path)},
    }
    return build(StudentRecord, _merged(content, changes))


def teacher_run(dataset: str = "streets", model: str = "small", **changes: Any) -> TeacherRun:
    """A teacher's live run."""
    content = {**_of_teacher(dataset, model), "inputs": digest("inputs", model), "iterations": {"planned": 6}}
    return build(TeacherRun, _merged(content, changes))


def teacher_record(dataset: str = "streets", model: str = "small", **changes: Any) -> TeacherRecord:
    """A teacher's record."""
    content = {
        **_of_teacher(dataset, model),
        **_published(6, [segment(8.0, None, iterations=6)]),
        "digests": _digests(code="teacher") | {"weights": digest(model)},
    }
    return build(TeacherRecord, _merged(content, changes))


def segment(train_s: float, anchor_s: float | None = 0.1, **changes: Any) -> dict[str, Any]:
    """A segment of a record; `anchor_s` None: no anchor was measured in it."""
    content = {
        "started_unix": STARTED_UNIX,
        "device_kind": DEVICE_KIND,
        "threads": 1,
        "torch": "2.14.1",
        "cuda": None,
        "cudnn": None,
        "not_compiled": [],
        "startup_s": 1.0,
        "first_iteration": 0,
        "iterations": 6,
        "train_s": train_s,
        "anchors": [] if anchor_s is None else [[0.0, anchor_s], [train_s, anchor_s]],
        "anchor_steps": None if anchor_s is None else train_s / anchor_s,
        "anchor_s": anchor_s,
        "ended": "finished",
    }
    return _merged(content, changes)


def scores(
    cell: Cell | None = CELL,
    miou: float | None = 0.5,
    weights: str | None = None,
    per_class_iou: Mapping[str, float | None] | None = None,
    **changes: Any,
) -> ScoreDocument:
    """The scores of a student; `cell` None: of the teacher `small`."""
    diverged = miou is None
    if per_class_iou is None:
        per_class_iou = {name: miou if place < len(CLASSES) - 1 else None for place, name in enumerate(CLASSES)}
    content = {
        "cell": None if cell is None else cell.as_dict(),
        "dataset": "streets" if cell is None else cell.dataset,
        "split": "val",
        "status": "diverged" if diverged else "finished",
        "iterations": 6,
        "images": 2,
        "scoring": {"scales": [1.0], "flip": False},
        "weights": weights or digest("small" if cell is None else cell.path),
        "miou": miou,
        "metrics": {"pixel_accuracy": None if diverged else 0.8},
        "per_class_iou": dict(per_class_iou),
    }
    return build(ScoreDocument, _merged(content, changes))


def index(dataset: str = "streets", **changes: Any) -> Index:
    """The index of a prepared data set."""
    one_class = {"class_pixels": [10, 5, 0], "class_frequency": [2 / 3, 1 / 3, 0.0], "class_images": [2, 1, 0]}
    splits = {
        name: {
            "images": 2,
            "files": {
                kind: {"file": f"{name}.{kind}", "bytes": 100, "sha256": digest(name, kind)}
                for kind in ("images", "labels", "samples")
            },
            "mean_rgb": [90.0, 100.0, 110.0],
            "void_pixels": 3,
            **one_class,
        }
        for name in ("train", "val")
    }
    content = {
        "dataset": dataset,
        "reader": "cityscapes",
        "classes": list(CLASSES),
        "palette": [[128, 64, 128], [0, 0, 142], [70, 130, 180]],
        "ignore": 255,
        "resize": None,
        "storage": {"images": "raw"},
        "splits": splits,
        "verification": {
            "pairs": 4,
            "checked": ["counterparts"],
            "counts": {},
            "left_out": {},
            "problems": 0,
            "raw_values": [0, 7, 26],
        },
    }
    return build(Index, _merged(content, changes))


def _of_student(cell: Cell, planned: Plan) -> dict[str, Any]:
    method = {"method": cell.method.removesuffix(".tuned"), "weights": {"kd": 1.0}}
    method["implementation"] = "tuned" if cell.method.endswith(".tuned") else "reference"
    params = {"recipe": RECIPE, "student": {}, "teacher": {}, "method": method, "classes": list(CLASSES)}
    return _run("student", cell.path, cell.as_dict(), params) | {
        "plan": plain(planned),
        "digests": _digests(code=cell.method, teacher="teacher", plan=cell.path),
    }


def _of_teacher(dataset: str, model: str) -> dict[str, Any]:
    params = {"recipe": RECIPE, "model": {}, "classes": list(CLASSES)}
    cell = {"dataset": dataset, "model": model, "seed": 0}
    return _run("teacher", model, cell, params) | {"plan": None, "digests": _digests(code="teacher")}


def _run(kind: str, name: str, cell: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
    run_id = digest("run", name)[:32]
    return {"run_id": run_id, "kind": kind, "cell": cell, "params": params, "started_unix": STARTED_UNIX}


def _published(iterations: int, segments: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    train_s = sum(one["train_s"] for one in segments)
    return {
        "status": "finished",
        "message": "",
        "iterations": {"planned": iterations, "done": iterations},
        "epochs": {"labelled": iterations * 2 / 3, "unlabelled": 0.0},
        "clock": {"train_s": train_s, "evaluate_s": 2.0, "io_s": 0.2, "startup_s": 1.0, "lost_s": 0.0},
        "segments": list(segments),
        "best": {"iteration": iterations, "miou": 0.4},
        "checkpoints": {"count": 2, "seconds_each": 0.1, "bytes": 22_000_000, "every_s": 60.0, "share_of_train": 0.01},
        "ended_unix": STARTED_UNIX + 100,
        "environment": {"python": "3.11.7", "torch": "2.14.1"},
        "hardware": {"device": "cpu", "device_kind": DEVICE_KIND, "threads": 1, "cpu_cores": 2},
    }


def _digests(*, code: str, teacher: str | None = None, plan: str | None = None) -> dict[str, Any]:
    return {
        "teacher": None if teacher is None else digest("small"),
        "data": digest("data"),
        "code": digest("code", code),
        "plan": None if plan is None else digest("plan", plan),
    }


def _quartiles(median: float) -> dict[str, float]:
    return {"q25": 0.99 * median, "median": median, "q75": 1.01 * median}


def _merged(content: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`content` with `changes`; where both have a dict, its values are merged likewise."""
    merged = dict(content)
    for key, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merged(merged[key], value) if both else value
    return merged
