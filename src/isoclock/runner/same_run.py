"""One training of two cells: a compute budget of N iterations of a yardstick gives that yardstick N iterations.

So its cell there is the same training as its cell under the iteration budget of N. The one that is started first is trained;
the other becomes a copy of its result, with a plan of its own.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

import torch

from isoclock.errors import ArtifactError
from isoclock.files import sha256_file, written_atomically
from isoclock.grid.cells import Cell
from isoclock.grid.layout import Layout, RunFiles, TrainedFiles
from isoclock.protocol import VERSION
from isoclock.records.document import build, plain, read_if_there, write
from isoclock.records.record import StudentRecord
from isoclock.runner.lease import Lease
from isoclock.runner.spec import Spec, set_aside


def take_over(spec: Spec, others: Sequence[Cell], layout: Layout) -> str | None:
    """Publish `spec` from a published cell of `others` that is the same training. Returns its status; None if there is none.

    It is the same where planned iterations, params, data, teacher, code, device kind and version of torch are. The record names
    the cell that was trained under `trained_as`. A damaged record is reported and not used.
    """
    for other in others:
        files = layout.student_files(other)
        try:
            record = read_if_there(files.record, StudentRecord, f"student {other.path}")
        except ArtifactError as error:
            print(f"isoclock: {error}; its result is not used for {spec.title}", flush=True)
            continue
        if record is not None and _is_same(spec, record, files.weights):
            _publish(spec, other, record, files)
            return record.status
    return None


def _is_same(spec: Spec, record: StudentRecord, weights: Path) -> bool:
    assert spec.plan is not None
    digests = record.digests.model_dump(exclude={"plan", "weights", "start_weights"})
    return (
        record.trained_as is None
        and record.protocol_version == VERSION
        and record.iterations.planned == spec.iterations
        and record.params == spec.params
        and digests == {name: value for name, value in spec.digests.items() if name != "plan"}
        and record.hardware.device_kind == spec.plan.device_kind
        and all(segment.torch == torch.__version__ for segment in record.segments)
        and weights.is_file()
        and sha256_file(weights) == record.digests.weights
    )


def _publish(spec: Spec, other: Cell, record: StudentRecord, files: TrainedFiles) -> None:
    """Write the record last, as in publishing. It has equal bytes each time: its run id is derived from that of the other."""
    if RunFiles(spec.run_folder).run.is_file():  # a training of its own, which is not needed any more
        with Lease(spec.run_folder):
            set_aside(spec)
    own_files = TrainedFiles(spec.result_folder)
    pairs = (
        (files.weights, own_files.weights),
        (files.ledger, own_files.ledger),
        (files.validation, own_files.validation),
    )
    for source, copy in pairs:
        if source.is_file():
            with written_atomically(copy) as temporary:
                shutil.copyfile(source, temporary)
        else:
            copy.unlink(missing_ok=True)
    cell = Cell(**spec.cell)
    own = {
        "cell": spec.cell,
        "plan": None if spec.plan is None else plain(spec.plan),
        "digests": plain(record.digests) | {"plan": spec.digests["plan"]},
        "run_id": uuid.uuid5(uuid.UUID(record.run_id), cell.path).hex,
        "trained_as": other.path,
    }
    write(own_files.record, build(StudentRecord, plain(record) | own))
