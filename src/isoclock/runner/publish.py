"""Publishing a run that has ended: weights, ledger and record, which are all that later verbs read."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping

import torch
from safetensors.torch import save_file

from isoclock.files import sha256_file, sha256_path, written_atomically
from isoclock.grid.layout import TrainedFiles
from isoclock.records.document import build, plain, write
from isoclock.records.record import Record, RecordDigests, StudentRecord, TeacherRecord
from isoclock.records.run import Run
from isoclock.runner.environment import environment, hardware
from isoclock.runner.ledger import Ledger
from isoclock.runner.session import Outcome
from isoclock.runner.spec import Spec
from isoclock.runner.totals import read_totals
from isoclock.training.anchor import anchor_steps
from isoclock.training.step import TrainingStep

RECORDS: dict[str, type[Record]] = {"student": StudentRecord, "teacher": TeacherRecord}


def publish(
    spec: Spec,
    run: Run,
    step: TrainingStep,
    outcome: Outcome,
    device: torch.device,
    ledger: Ledger,
    checkpoint_every_s: float,
    images: Mapping[str, int],
) -> RecordDigests:
    """Write weights first and the record last: where there is a record, the result is complete. Returns its digests."""
    state = outcome.state
    files = TrainedFiles(spec.result_folder)
    weights = files.weights
    with written_atomically(weights) as temporary:
        save_file({name: value.contiguous().cpu() for name, value in step.student.state_dict().items()}, temporary)
    with written_atomically(files.ledger) as temporary:
        shutil.copyfile(ledger.path, temporary)
    segments = [dict(segment) for segment in state.segments]
    for segment in segments:
        steps = segment["anchor_steps"] = anchor_steps(segment["train_s"], segment["anchors"])
        segment["anchor_s"] = segment["train_s"] / steps if steps else None
    logged, start = read_totals(ledger.path), step.student.weights_file
    kept = ("protocol_version", "run_id", "kind", "cell", "plan", "params", "started_unix")
    content = {
        **{key: value for key, value in plain(run).items() if key in kept},
        "status": outcome.status,
        "message": state.message,
        "iterations": {"planned": spec.iterations, "done": state.iteration},
        "epochs": spec.recipe.epochs(state.iteration, images),
        "clock": {
            **{f"{name}_s": seconds for name, seconds in outcome.clock.items()},
            "startup_s": sum(segment["startup_s"] for segment in segments),
            "lost_s": state.lost_s,
        },
        "segments": segments,
        "best": state.best,
        "checkpoints": {
            "count": logged.saves,
            "seconds_each": logged.saves_s / max(1, logged.saves),
            "bytes": logged.last_save_bytes,
            "every_s": checkpoint_every_s,
            "share_of_train": logged.saves_s / outcome.clock["train"] if outcome.clock["train"] else None,
        },
        "digests": {**spec.digests, "weights": sha256_file(weights), "start_weights": start and sha256_path(start)},
        "ended_unix": round(time.time(), 3),
        "environment": environment(device),
        "hardware": hardware(device),
    }
    record = build(RECORDS[spec.kind], content)
    write(files.record, record)
    return record.digests
