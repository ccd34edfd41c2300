"""Overhead of the engine (loop, clock, ledger, schedule, general step) over a loop written by hand for one network.

Both train the same PSPNet with the same batches, optimiser, precision and memory format. One `Session.run` does all of
isoclock's windows: between two of them, where it asks for a batch, the loop by hand runs one of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from demo_step import demo_batches, demo_network, demo_recipe, demo_step
from measure import Goal, Result, show
from torch import Tensor

from isoclock.data.loading.normalise import Normalise
from isoclock.params.schema import Recipe
from isoclock.runner.device import choose_device
from isoclock.runner.ledger import Ledger
from isoclock.runner.session import Session
from isoclock.training.device import synchroniser
from isoclock.training.loop import LOG_EVERY, Sources, TrainingLoop
from isoclock.training.task_loss import IGNORE, Labels, upsampled_cross_entropy

Batches = list[Mapping[str, Tensor]]


def measure(
    windows: int = 21, steps: int = LOG_EVERY, warmup: int = 1, batch: int = 8, crop: tuple[int, int] = (64, 128)
) -> Result:
    """Windows of `steps` iterations each; a window of LOG_EVERY has one line of the ledger in it, as in real runs."""
    recipe = demo_recipe(batch, crop)
    step, batches = demo_step(recipe), demo_batches(recipe)
    rounds = warmup + windows
    by_hand = _loop_by_hand(recipe, batches, rounds * steps)
    synchronise = synchroniser(step.device)
    engine_s: list[float] = []
    bare_s: list[float] = []

    def timed(work: Callable[[], None]) -> float:
        synchronise()
        started = time.perf_counter()
        work()
        synchronise()
        return (time.perf_counter() - started) / steps

    def stream(first: int) -> Iterator[Mapping[str, Tensor]]:
        for number in range(rounds):
            bare_s.append(timed(lambda: by_hand(steps)))
            started = time.perf_counter()
            for k in range(steps):
                yield batches[(first + number * steps + k) % len(batches)]
            synchronise()
            engine_s.append((time.perf_counter() - started) / steps)
        bare_s.append(timed(lambda: by_hand(steps)))

    with TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "ledger.jsonl")
        loop = TrainingLoop(step, rounds * steps, Sources(stream))
        outcome = Session(loop, Path(folder), ledger).run({"started_unix": 0.0}, "engine")
        ledger.close()
    if outcome.status != "finished":
        raise RuntimeError(f"the run {outcome.status}: {outcome.state.message}")
    # Each window of the engine is between two of the loop by hand; their mean cancels a constant drift.
    around = [(bare_s[i] + bare_s[i + 1]) / 2 for i in range(rounds)]
    kept = slice(warmup, None)
    return Result(
        "engine_step",
        "isoclock's engine and step against a loop by hand, PSPNet-R10t",
        {"a step of the engine": engine_s[kept], "a step by hand": around[kept]},
        {"engine / by hand": [e / b for e, b in zip(engine_s[kept], around[kept], strict=True)]},
        [Goal("engine / by hand", 1.03)],
        {"batch": batch, "crop": list(crop), "steps_per_window": steps, "threads": torch.get_num_threads()},
    )


def _loop_by_hand(recipe: Recipe, batches: Batches, iterations: int) -> Callable[[int], None]:
    """A training loop written by hand for this network, with the same task loss."""
    device = choose_device()
    network = demo_network().to(device).to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.SGD(
        network.parameters(), lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay, fused=True
    )
    normalise = Normalise.last_of(recipe.colour)
    wanted = {"logits", "aux_logits"}
    done = 0

    counted = torch.ones(256, device=device)  # weight of a pixel by its label
    counted[IGNORE] = 0.0

    def run(steps: int) -> None:
        nonlocal done
        total = torch.zeros((), device=device)
        for _ in range(steps):
            batch = batches[done % len(batches)]
            pixels = batch["images"].to(device, memory_format=torch.channels_last, non_blocking=True)
            target = batch["target"].to(device, non_blocking=True).long()
            images = normalise(pixels)
            for group in optimiser.param_groups:
                group["lr"] = recipe.lr * max(0.0, 1 - done / iterations) ** recipe.poly_power
            with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
                out = network(images, wanted)
                labels = Labels(target, counted)
                loss = upsampled_cross_entropy(out.logits, labels)
                loss = loss + recipe.aux_weight * upsampled_cross_entropy(out.aux_logits, labels)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            total += loss.detach()
            done += 1
        float(total)  # a loop written by hand also reads the loss once

    return run


if __name__ == "__main__":
    show([measure()])
