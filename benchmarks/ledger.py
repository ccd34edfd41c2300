"""Cost of a line of the ledger, compared with the training steps between two lines."""

from __future__ import annotations

import time
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory

from demo_step import demo_batches, demo_recipe, demo_step
from measure import Goal, Result, in_turns, show

from isoclock.runner.ledger import Ledger
from isoclock.training.device import synchroniser
from isoclock.training.loop import LOG_EVERY


def measure(
    rounds: int = 15, lines: int = 500, steps: int = 3, batch: int = 8, crop: tuple[int, int] = (64, 128)
) -> Result:
    """Measure `lines` lines as the engine writes them and `steps` training steps, interleaved."""
    recipe = demo_recipe(batch, crop)
    step, batches = demo_step(recipe), cycle(demo_batches(recipe))
    synchronise = synchroniser(step.device)
    terms = {"ce": 1.234567, "aux": 1.345678, "kd": 0.456789}

    def a_step() -> float:
        synchronise()
        started = time.perf_counter()
        for _ in range(steps):
            step(next(batches), recipe.lr)
        synchronise()
        return (time.perf_counter() - started) / steps

    with TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "ledger.jsonl")

        def a_line() -> float:
            started = time.perf_counter()
            for number in range(lines):
                ledger.append("train", number, loss=1.772839, terms=terms, lr=0.009876, train_s=123.4567)
            return (time.perf_counter() - started) / lines

        a_step()
        found = in_turns(rounds, line=a_line, step=a_step)
        ledger.close()
    return Result(
        "ledger",
        f"Ledger.append, once in {LOG_EVERY} iterations, against the iterations",
        {"a line": found["line"], "a training step": found["step"]},
        {
            "line / step, amortised": [
                line / LOG_EVERY / one for line, one in zip(found["line"], found["step"], strict=True)
            ]
        },
        [Goal("line / step, amortised", 0.01)],
        {"batch": batch, "crop": list(crop), "lines_per_window": lines, "log_every": LOG_EVERY},
    )


if __name__ == "__main__":
    show([measure()])
