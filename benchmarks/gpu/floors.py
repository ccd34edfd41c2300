"""Part `floors`: what cannot be avoided, next to what is done: `kd`, and the training loop."""

from __future__ import annotations

import engine_step
import torch
from rows import Rows, part_arguments
from steps import steps_of

from isoclock.data.loading.normalise import Normalise

KD_GOAL, LOOP_GOAL = 1.02, 1.03


def main() -> None:
    """A step of `kd` against a step without KD plus the teacher's forward pass; the loop against a bare one."""
    arguments = part_arguments(__doc__).parse_args()
    rows = Rows(arguments.out)
    steps = steps_of(arguments)
    kd, none = steps.build("kd"), steps.build("none")
    images = steps.batches[0]["images"].to(steps.device)
    normalise = Normalise.last_of(steps.recipe.colour)
    assert normalise is not None
    images = normalise(images).contiguous(memory_format=torch.channels_last)
    train, needs = steps.call(none), frozenset({"logits"})
    amp = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(steps.recipe.precision)

    def floor(number: int) -> None:
        train(number)
        with torch.no_grad(), torch.autocast(steps.device.type, amp, enabled=amp is not None):
            assert kd.teacher is not None
            kd.teacher(images, needs)

    found = steps.compare(steps.call(kd), floor)
    rows.put(kind="floor", what="kd / (none + teacher)", goal=KD_GOAL, **found)
    batch, crop = steps.size.batch, steps.size.crop
    windows = 2 if arguments.tiny else 9
    result = engine_step.measure(windows=windows, steps=2 if arguments.tiny else 20, batch=batch, crop=crop)
    spread = result.spreads()["engine / by hand"]
    rows.put(
        kind="floor", what="loop / loop by hand", goal=LOOP_GOAL, ratio=spread.median, low=spread.q25, high=spread.q75
    )


if __name__ == "__main__":
    main()
