"""What one row of `methods.py` costs: time and memory of a loss, and of the training step around it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from demo_step import demo_recipe
from measure import ROOT, Spread, in_turns, pairwise
from method_rows import Row, Scale
from torch import Tensor

from isoclock.budget.memory import MIB, peak_mib
from isoclock.budget.windows import bootstrap_interval
from isoclock.methods import REFERENCE, TUNED, Batch, ChannelSpec, Method, build_method
from isoclock.methods.contract import detached
from isoclock.models.outputs import AUX_LOGITS, BACKBONE, HEAD, LOGITS, SegmenterOutput
from isoclock.models.trained import new_segmenter
from isoclock.params.check import load_params
from isoclock.training.device import synchroniser
from isoclock.training.step import TrainingStep

STRIDE = 8
TIE = 1.03  # tuned may take this much longer and still be said to tie
SLOW_S = 60.0  # a slow row has fewer rounds than the least rather than take longer, but three
WARM_S = 5.0  # a pair of calls that took as long, memory being watched, is warm-up enough
SAMPLE_S = 0.2  # quick calls are repeated until a pair of samples takes about as long
REPEATS = 50
PRESENT = 20  # classes that occur in an image
PATCH = 64  # pixels of a patch of one class


class Labels(Batch):
    """A batch that remembers whether its labels were looked at."""

    were_read = False

    def __getattribute__(self, name: str) -> Any:
        if name == "target":
            object.__setattr__(self, "were_read", True)
        return object.__getattribute__(self, name)


class Side:
    """One implementation with its inputs: a call takes one sample."""

    def __init__(self, row: Row, implementation: str, scale: Scale, device: torch.device) -> None:
        torch.manual_seed(0)
        self.method: Method = build_method(
            row.method,
            student=scale.student,
            teacher=scale.teacher,
            num_classes=row.classes,
            dataset_size=2975,
            implementation=implementation,
            active_terms=None if row.setting.terms is None else set(row.setting.terms),
            **row.params,
        )
        self.method.to(device).train().seed(0)
        self.device = device
        self.synchronise = synchroniser(device)
        self.student = made_up(self.method.student_needs, scale.student, row, device, seed=1, leaves=True)
        self.teacher = made_up(self.method.teacher_needs, scale.teacher, row, device, seed=2, leaves=False)
        self.repeats = 1
        self.samples = samples(row, device)
        self.labels = Labels(*self.samples)
        self.leaves = [tensor for tensor in self.resident() if tensor.requires_grad]

    def __call__(self) -> float:
        """Seconds of a call, its backward and the adversary's step where there is one: the mean of `repeats`."""
        self.synchronise()
        started = time.perf_counter()
        for _ in range(self.repeats):
            self.forget()
            self.run()
        self.synchronise()
        return (time.perf_counter() - started) / self.repeats

    def run(self) -> None:
        terms = self.method(self.student, self.teacher, self.labels)
        torch.stack(list(terms.values())).sum().backward()
        if self.method.has_adversary:
            self.method.adversary_step(detached(self.student), self.teacher, self.labels, lr_factor=1.0)

    def forget(self) -> None:
        """Gradients of the call before."""
        for tensor in self.leaves:
            tensor.grad = None

    def resident(self) -> list[Tensor]:
        """Everything that is there before a call."""
        inputs = [
            output.get(name) for output in (self.student, self.teacher) for name in (LOGITS, AUX_LOGITS, HEAD, BACKBONE)
        ]
        states = [
            value for opt in self.method.optimisers.values() for state in opt.state.values() for value in state.values()
        ]
        return [
            tensor
            for tensor in (*inputs, *self.samples, *self.method.parameters(), *self.method.buffers(), *states)
            if isinstance(tensor, Tensor)
        ]

    def extra_mib(self) -> float:
        """Peak of tensor memory during a call, beyond what is there before it: gradients and whatever it makes itself."""
        self.forget()
        resident = self.resident()
        there = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in resident}
        before = sum(there.values()) / MIB
        if self.device.type == "cuda":
            self()  # libraries take their workspaces in the first call
            self.forget()
            before = torch.cuda.memory_allocated(self.device) / MIB
        return peak_mib(self.run, self.device, resident) - before


def made_up(
    needs: frozenset[str], channels: ChannelSpec, row: Row, device: torch.device, *, seed: int, leaves: bool
) -> SegmenterOutput:
    """Outputs of a network that was never there."""
    random = torch.Generator().manual_seed(seed)
    memory_format = torch.channels_last if row.channels_last else torch.contiguous_format
    made = {}
    for name in sorted(needs):
        count = channels.of(name) if name in (HEAD, BACKBONE) else row.classes
        values = torch.randn(row.batch, count, *row.grid, generator=random)
        made[name] = values.to(device, memory_format=memory_format).requires_grad_(leaves)
    features = {name: made[name] for name in (BACKBONE, HEAD) if name in made}
    return SegmenterOutput(made.get(LOGITS), made.get(AUX_LOGITS), features)


def samples(row: Row, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Labels, index, and which are labelled: patches of up to PRESENT classes an image, a tenth of it void."""
    random = torch.Generator().manual_seed(3)
    height, width = (STRIDE * side for side in row.grid)
    patches = (row.batch, -(-height // PATCH), -(-width // PATCH))
    present = torch.stack([torch.randperm(row.classes, generator=random)[:PRESENT] for _ in range(row.batch)])
    chosen = torch.randint(present.shape[1], patches, generator=random).flatten(1)
    target = present.gather(1, chosen).view(patches).repeat_interleave(PATCH, 1).repeat_interleave(PATCH, 2)
    target = target[:, :height, :width].contiguous()
    target[:, : height // 10] = 255
    index, labelled = torch.arange(row.batch), torch.ones(row.batch, dtype=torch.bool)
    return target.to(device), index.to(device), labelled.to(device)


def measured(row: Row, scale: Scale, step: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """Both implementations in turns; how many rounds depends on how long they take."""
    sides = {name: Side(row, name, scale, device) for name in (REFERENCE, TUNED)}
    theirs = dict(sides[REFERENCE].method.named_buffers())
    for name, buffer in sides[TUNED].method.named_buffers():
        if name in theirs:
            buffer.data = theirs[name].data  # a bank of gigabytes once, not twice
    started = time.perf_counter()
    memory = {name: side.extra_mib() for name, side in sides.items()}
    pair_s = time.perf_counter() - started
    if pair_s < WARM_S:
        pair_s = sum(side() for side in sides.values())
        for side in sides.values():
            side.repeats = max(1, min(REPEATS, int(SAMPLE_S / pair_s)))
        pair_s *= sides[TUNED].repeats
    rounds = max(scale.least, min(scale.most, int(scale.seconds / pair_s)))
    if rounds * pair_s > SLOW_S:
        rounds = max(min(3, scale.least), int(SLOW_S / pair_s))
    found = in_turns(rounds, **sides)
    ratios = pairwise(found[REFERENCE], found[TUNED])
    interval = bootstrap_interval(np.array(ratios))
    method, batch = sides[REFERENCE].method, sides[REFERENCE].labels
    rest_s = step_s(step, method.teacher_needs, row.batch * row.grid[0] * row.grid[1])
    spreads = {name: Spread.of(samples) for name, samples in found.items()}
    return {
        **row.asked(),
        "reads": sorted(method.student_needs | method.teacher_needs),
        "depends_on_classes": LOGITS in method.student_needs or AUX_LOGITS in method.student_needs or batch.were_read,
        "times_s": {name: spreads[name].as_json() | {"samples": samples} for name, samples in found.items()},
        "ratio": Spread.of(ratios).as_json() | interval,
        "wins_or_ties": interval["low"] > 1 / TIE,
        "repeats": sides[TUNED].repeats,  # calls a sample
        "memory_mib": memory,
        "share": {name: spread.median / (spread.median + rest_s) for name, spread in spreads.items()},
        "load": os.getloadavg()[0],
        "unix": round(time.time()),
    }


def measured_step(scale: Scale, device: torch.device) -> dict[str, Any]:
    """Seconds of a training step of the pair without a method's loss: the student's, and the teacher's forward by parts.

    Each is the faster one of two; float32, contiguous, at the full grid.
    """
    params, batch, crop = load_params(ROOT / "params"), 2, (STRIDE * scale.grid[0], STRIDE * scale.grid[1])
    pair, classes = params.pair(scale.pair), scale.classes[0]
    recipe = demo_recipe(batch, crop).model_copy(update={"precision": "fp32", "channels_last": False})
    random, synchronise = torch.Generator().manual_seed(0), synchroniser(device)
    images = torch.randn(batch, 3, *crop, generator=random)
    inputs = {
        "images": images,
        "target": torch.randint(classes, (batch, *crop), generator=random),
        "index": torch.arange(batch),
        "labelled": torch.ones(batch, dtype=torch.bool),
    }

    def faster_of_two(work: Callable[[], object]) -> float:
        taken = []
        for _ in range(2):
            synchronise()
            started = time.perf_counter()
            work()
            synchronise()
            taken.append(time.perf_counter() - started)
        return min(taken)

    def student_s() -> float:
        student = new_segmenter(params.model(pair.student), classes, initial=False)
        none = build_method(
            "none", student=student.channels, teacher=student.channels, num_classes=classes, dataset_size=1
        )
        step = TrainingStep(student, none, {}, recipe, device, num_classes=classes)
        return faster_of_two(lambda: step(inputs, recipe.lr))

    def teacher_s() -> dict[str, float]:
        teacher = new_segmenter(params.model(pair.teacher), classes, initial=False).eval().to(device)
        there = images.to(device)
        parts = {"backbone": {BACKBONE}, "head": {LOGITS}, "aux": {LOGITS, AUX_LOGITS}}
        with torch.no_grad():
            return {part: faster_of_two(lambda want=want: teacher(there, want)) for part, want in parts.items()}

    return {
        "pair": scale.pair,
        "batch": batch,
        "crop": list(crop),
        "threads": torch.get_num_threads(),
        "student_s": student_s(),
        "teacher_s": teacher_s(),
    }


def step_s(step: Mapping[str, Any], teacher_needs: frozenset[str], pixels: int) -> float:
    """Seconds of a step without the loss, for a teacher that runs what is needed of it only, and as many pixels."""
    part = "aux" if AUX_LOGITS in teacher_needs else "head" if teacher_needs & {HEAD, LOGITS} else "backbone"
    teacher_s = step["teacher_s"][part] if teacher_needs else 0.0
    whole = step["batch"] * step["crop"][0] * step["crop"][1] / STRIDE**2
    return float((step["student_s"] + teacher_s) * pixels / whole)
