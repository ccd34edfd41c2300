"""README.md of an exported network: what it is, how it was trained, its scores, and its terms."""

from __future__ import annotations

from isoclock.records.exported import ExportedModel
from isoclock.records.record import Record, StudentRecord, TeacherRecord
from isoclock.records.scores import ScoreDocument

_USE = """\
## Use
```sh
isoclock predict FOLDER photo.png    # label map and overlay, with the scoring of the table above
```
Without isoclock, `model.onnx` takes `image` (1, 3, {height}, {width}), RGB as float32 in 0..255, and gives `logits`
(1, {classes}, h, w). Enlarge the logits bilinearly (align_corners=False) to the photograph, and take the argmax over classes.
The normalisation is part of the file. It computes in float32, and sees the whole image once.
"""


def model_card(exported: ExportedModel, record: Record, scores: ScoreDocument, start: str | None) -> str:
    """The card as markdown. `start` is what the network's training started from, as params/models.yaml has it."""
    compared, (height, width) = exported.compared, exported.onnx_size
    metrics = {"miou": scores.miou} | scores.metrics
    lines = [
        f"# {exported.name}",
        "",
        f"A {exported.architecture} for {len(exported.classes)} classes of `{exported.dataset}`, exported by isoclock.",
        "",
        "## Protocol and cost",
        *_training(record),
        "",
        "## Scores",
        f"On {scores.images} images of split `{scores.split}`, from the last weights, in {exported.recipe['precision']}.",
        "",
        *_table("metric", metrics),
        "",
        *_table("class", scores.per_class_iou, "IoU %"),
        "",
        f"`model.onnx` in onnxruntime against torch, both in float32, on {compared.images} of these images: logits differ by at "
        f"most {compared.largest_difference:.1e} of the largest, and {100 * compared.same_class:.2f} % of their pixels have the "
        "same class.",
        "",
        _USE.format(height=height, width=width, classes=len(exported.classes)),
        "## Terms",
        f"The weights were made from the images and labels of `{exported.dataset}`. The terms of that data set hold for them "
        "too: read its licence before you use or share them. The licence of isoclock is that of the code alone.",
        *_further_terms(record, start),
        "",
        "## Files",
        f"- `model.safetensors`: weights, SHA-256 {exported.weights_sha256}",
        f"- `model.onnx`: SHA-256 {exported.onnx_sha256}",
        "- `model.json`: architecture, classes, colours, normalisation and scoring",
        "",
    ]
    return "\n".join(lines)


def _training(record: Record) -> list[str]:
    lines = [
        f"- protocol version {record.protocol_version}; {record.iterations.done} of {record.iterations.planned} iterations",
        f"- {record.clock.train_s:.1f} s of training on {record.hardware.device_kind}",
        f"- data {record.digests.data}",
    ]
    if isinstance(record, StudentRecord):
        plan, spent = record.plan, record.spent_anchor_steps
        lines += [
            f"- method `{plan.method}` ({record.implementation}), budget `{plan.budget}` of protocol {plan.protocol}, "
            f"seed {record.cell.seed}",
            f"- cost: {plan.cost_ratio:.3f} anchor-steps per iteration; {plan.anchor_steps:.0f} anchor-steps planned, "
            f"{'unknown' if spent is None else f'{spent:.0f}'} spent (one is a training step of the student alone)",
            f"- teacher: {record.digests.teacher or 'none'}",
        ]
    return lines


def _further_terms(record: Record, start: str | None) -> list[str]:
    imported = record.imported if isinstance(record, TeacherRecord) else None
    if imported is not None:
        return [f"They are a copy of a checkpoint from {imported.source}, of licence: {imported.licence}."]
    if start in (None, "random"):
        return []
    return [f"Training started from `{start}`, whose terms hold as well."]


def _table(of: str, values: dict[str, float | None], title: str = "%") -> list[str]:
    rows = [f"| {name} | {'–' if value is None else f'{100 * value:.2f}'} |" for name, value in values.items()]
    return [f"| {of} | {title} |", "|:--|--:|", *rows]
