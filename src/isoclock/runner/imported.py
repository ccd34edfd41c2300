"""A teacher that is not trained here: the checkpoint of its model entry, published like a trained one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file

from isoclock.data.loading.prepared import PreparedData
from isoclock.digests import Digests
from isoclock.errors import UserError
from isoclock.files import read_json, sha256_file, sha256_json, written_atomically
from isoclock.grid.layout import TrainedFiles
from isoclock.grid.stamps import teacher_stamp
from isoclock.models.checkpoints import load_checkpoint
from isoclock.models.trained import new_segmenter
from isoclock.records.document import build, write
from isoclock.records.record import TeacherRecord
from isoclock.runner.environment import cuda_versions, environment, hardware
from isoclock.runner.lease import Lease
from isoclock.runner.ledger import Ledger
from isoclock.training.device import device_kind

if TYPE_CHECKING:
    from isoclock.grid.layout import Layout
    from isoclock.params.load import Params
    from isoclock.params.schema import Checkpoint

CPU = torch.device("cpu")
_NOTHING_S = {f"{name}_s": 0.0 for name in ("train", "evaluate", "io", "lost")}


def import_teacher(params: Params, dataset: str, model: str, layout: Layout) -> str:
    """Publish the checkpoint of `model` as a teacher of `dataset`: weights, ledger and record. Returns "finished".

    Raises ArtifactError if the file is not the one that params/models.yaml names, does not fit the network, or has other
    classes than the data set.
    """
    entry, files = params.model(model), TrainedFiles(layout.teacher(dataset, model))
    checkpoint = entry.checkpoint
    if checkpoint is None:
        raise UserError(f"{params.folder / 'models.yaml'}: models.{model}: has no checkpoint to import; give one")
    data, path, started = PreparedData.open(layout.prepared(dataset)), Path(checkpoint.path), time.time()
    where = f"params/models.yaml names in {model}.checkpoint"
    Digests(layout.digests).check(
        path, checkpoint.sha256, f"the file that {where}", "get it again, or correct the entry"
    )
    network, stamp = new_segmenter(entry, len(data.classes), initial=False), teacher_stamp(params, dataset, model)
    classes, unused = load_checkpoint(
        network, path, checkpoint.format, entry.architecture, data.classes, checkpoint.classes or own_classes(path)
    )
    with Lease(layout.teacher_run(dataset, model)):
        with written_atomically(files.weights) as temporary:
            save_file({name: value.contiguous() for name, value in network.state_dict().items()}, temporary)
        files.ledger.unlink(missing_ok=True)
        ledger = Ledger(files.ledger)
        ledger.append(
            "import", 0, path=str(path), format=checkpoint.format, sha256=checkpoint.sha256, unused=len(unused)
        )
        ledger.close()
        took_s = round(time.time() - started, 3)
        content = {
            "run_id": sha256_json([dataset, model, stamp, data.digest])[:32],
            "kind": "teacher",
            "cell": {"dataset": dataset, "model": model, "seed": 0},
            "plan": None,
            "params": {"recipe": {}, "model": stamp["model"], "classes": data.classes},
            "started_unix": round(started, 3),
            "ended_unix": round(time.time(), 3),
            "status": "finished",
            "message": f"imported from {path}, not trained here",
            "iterations": {"planned": 0, "done": 0},
            "epochs": {"labelled": 0.0, "unlabelled": 0.0},
            "clock": {**_NOTHING_S, "startup_s": took_s},
            "segments": [_segment(started, took_s)],
            "best": None,
            "checkpoints": {"count": 0, "seconds_each": 0.0, "bytes": 0, "every_s": 1.0, "share_of_train": None},
            "digests": {
                "teacher": None,
                "data": data.digest,
                "code": stamp["code"],
                "plan": None,
                "weights": sha256_file(files.weights),
            },
            "environment": environment(CPU),
            "hardware": hardware(CPU),
            "imported": _origin(checkpoint, classes, unused),
        }
        write(files.record, build(TeacherRecord, content))
    print(summary(path, checkpoint.format, len(network.state_dict()), classes, unused), flush=True)
    return "finished"


def own_classes(path: Path) -> list[str] | None:
    """Class names in the record that lies next to weights of this package; None if there is none."""
    record = path.with_name(TrainedFiles.record.name)
    if path.name != TrainedFiles.weights.name or not record.is_file():
        return None
    classes = read_json(record, "teacher").get("params", {}).get("classes")
    return [str(name) for name in classes] if isinstance(classes, list) else None


def summary(path: Path, form: str, tensors: int, classes: list[str], unused: list[str]) -> str:
    """What was read of a file, in a line or two."""
    lines = [f"isoclock: {path}: format {form}, {tensors} tensors, {len(classes)} classes matched by name"]
    if unused:
        lines.append(f"isoclock: {path}: {len(unused)} tensors that the network does not have: {', '.join(unused)}")
    return "\n".join(lines)


def _origin(checkpoint: Checkpoint, classes: list[str], unused: list[str]) -> dict[str, object]:
    named = checkpoint.model_dump(include={"path", "format", "sha256", "source", "licence"})
    return {**named, "classes": classes, "unused": unused}


def _segment(started: float, took_s: float) -> dict[str, object]:
    return {
        "started_unix": round(started, 3),
        "device_kind": device_kind(CPU),
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        **cuda_versions(CPU),
        "startup_s": took_s,
        "first_iteration": 0,
        "iterations": 0,
        "train_s": 0.0,
        "anchors": [],
        "anchor_steps": None,
        "anchor_s": None,
        "ended": "finished",
        "not_compiled": [],
    }
