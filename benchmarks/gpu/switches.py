"""Part `switches`: what each switch of a recipe, and the memory of the batches, changes in a step.

Each row compares the step with the switch to the step as the recipe has it, in windows that alternate.
"""

from __future__ import annotations

from typing import Any

from rows import Limit, Rows, in_one_line, part_arguments
from steps import Steps, steps_of

SWITCHES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("none", {"cudnn_benchmark": False}),
    ("kd", {"teacher_inference": "folded"}),
    ("none", {"matmul_precision": "highest"}),
    ("none", {"channels_last": False}),
    ("cirkd-small", {"loss_precision": "fp32"}),
    ("cirkd-small.tuned", {"loss_precision": "fp32"}),
    ("mgd", {"loss_precision": "fp32"}),
    ("none", {"precision": "fp16"}),
    ("none", {"precision": "fp32"}),
    ("kd", {"cudnn_benchmark": False}),
    ("kd", {"teacher_inference": "compiled"}),
    ("none", {"compile": "default"}),
    ("none", {"compile": "reduce-overhead"}),
    ("kd", {"compile": "default", "teacher_inference": "compiled"}),
)


def main() -> None:
    """Batches first, then switches, the slow ones to compile last."""
    arguments = part_arguments(__doc__).parse_args()
    rows, limit = Rows(arguments.out), Limit(arguments.seconds)
    steps = steps_of(arguments, windows=4)
    for entry in ("none", "kd"):
        _batches(rows, steps, entry)
    switches = SWITCHES[:2] if arguments.tiny else SWITCHES
    for entry, recipe in switches:
        named = {"kind": "switch", "entry": entry, **recipe}
        if limit.is_over:
            rows.put(**named, skipped="no time left")
            continue
        name, _, implementation = entry.partition(".")
        try:
            base, changed = (steps.build(name, implementation or None, **how) for how in ({}, recipe))
            rows.put(**named, **_compared(steps, changed, base))
        except Exception as error:  # one switch that fails must not hide the others
            rows.put(**named, error=in_one_line(error))
        finally:
            base = changed = None


def _batches(rows: Rows, steps: Steps, entry: str) -> None:
    """Pageable batches, and batches that are on the device already, against pinned ones."""
    step = steps.build(entry)
    pageable = [{name: tensor.clone() for name, tensor in batch.items()} for batch in steps.batches]
    there = [{name: tensor.to(steps.device) for name, tensor in batch.items()} for batch in steps.batches]
    for memory, batches in (("pageable", pageable), ("on the device", there)):
        compared = steps.compare(steps.call(step, batches), steps.call(step))
        rows.put(kind="switch", entry=entry, batches=memory, **_renamed(compared))


def _compared(steps: Steps, changed: Any, base: Any) -> dict[str, Any]:
    return _renamed(steps.compare(steps.call(changed), steps.call(base)))


def _renamed(compared: dict[str, Any]) -> dict[str, Any]:
    return {("base_ms" if name == "anchor_ms" else name): value for name, value in compared.items()}


if __name__ == "__main__":
    main()
