"""One training iteration, the same for teachers, the no-KD baseline and every method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from isoclock.data.loading.normalise import Normalise, filled
from isoclock.methods.bundle import Bundle
from isoclock.methods.contract import Batch, Method, detached, in_loss_precision
from isoclock.methods.resampling import on_grid_of
from isoclock.models.folding import folded
from isoclock.models.outputs import SegmenterOutput
from isoclock.models.segmenter import Segmenter
from isoclock.training.arithmetic import DTYPES, autocast
from isoclock.training.compiling import Compiler
from isoclock.training.task_loss import Labels, upsampled_cross_entropy

if TYPE_CHECKING:
    from isoclock.params.schema import Recipe

TASK_NEEDS = frozenset({"logits", "aux_logits"})
NO_OUTPUT = SegmenterOutput(None, None, {})

Mark = Callable[[str], None]


def no_mark(_phase: str) -> None:
    """Default of `mark`: phases are not measured."""


@dataclass(frozen=True)
class StepLosses:
    """Losses of one iteration, detached and still on the device: reading them waits for it."""

    total: Tensor
    terms: dict[str, Tensor]


class TrainingStep:
    """Forward, losses, backward and optimiser step of one iteration.

    The teacher runs online, in eval mode, under `no_grad`. It computes only what the method needs, and is left out
    where that is nothing. `mark(phase)` is called when the phases transfer, teacher, student, loss,
    backward, optimiser and adversary end.

    With `precision: fp16`, `scaler` scales the loss before backward. A step whose gradients are not finite is skipped:
    weights, adapters and momentum stay, and the scale is halved. An adversary still trains then, because it reads
    outputs and no gradient of the student. The losses that are returned are never scaled, so that one that is not finite
    is seen.
    """

    def __init__(
        self,
        student: Segmenter,
        method: Method | Bundle,
        weights: Mapping[str, float],
        recipe: Recipe,
        device: torch.device,
        *,
        teacher: Segmenter | None = None,
        class_weights: Tensor | None = None,
        num_classes: int,
    ) -> None:
        self.device = device
        self.recipe = recipe
        self.memory_format = torch.channels_last if recipe.channels_last else torch.contiguous_format
        self.student = student.train()
        _place(student, device, self.memory_format)
        self.method: Method | Bundle = method.to(device).train()
        self.weights = dict(weights)
        self.teacher_needs = frozenset(method.teacher_needs)
        all_needs = self.teacher_needs | method.pretrain_needs
        if all_needs and teacher is None:
            raise ValueError(f"the method needs {sorted(all_needs)} of a teacher, and there is none")
        self.teacher: Segmenter | None = None
        if all_needs and teacher is not None:
            if recipe.teacher_inference != "eager":
                teacher = folded(teacher, DTYPES[recipe.precision])
            self.teacher = teacher.eval().requires_grad_(False)
            _place(teacher, device, self.memory_format)
        self.aux_weight = recipe.aux_weight if student.auxiliary_head else 0.0
        task = TASK_NEEDS if self.aux_weight > 0 else TASK_NEEDS - {"aux_logits"}
        self.student_needs = task | frozenset(method.student_needs)
        self.compiler = Compiler(recipe, device)
        self._run_student = self.compiler("student", self.student)
        if self.teacher is not None:
            mode = "default" if recipe.teacher_inference == "compiled" else None
            self._run_teacher = self.compiler("teacher", self.teacher, mode=mode)
        for part in method.methods if self.compiler.mode else ():
            part.compiled = self.compiler(part.card().name, part.compute)
        table = torch.zeros(256, device=device)  # weight of a pixel by its label; ignored ones weigh nothing
        table[:num_classes] = 1.0 if class_weights is None else class_weights.to(device)
        self._pixel_weight = table
        self._normalise = Normalise.last_of(recipe.colour) if recipe.colour else None
        # Of the last batch: its memory is used again.
        self._images: Tensor | None = None
        self._target: Tensor | None = None
        self.parameters = [p for p in (*self.student.parameters(), *self.method.adapters()) if p.requires_grad]
        self.optimiser = torch.optim.SGD(
            self.parameters, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay, fused=True
        )
        self.scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "fp16")
        self._losses_in_autocast = recipe.loss_precision == "autocast"
        # An adversary and a pre-training have a backward pass of their own, whose loss is not scaled.
        self._training_in_autocast = self._losses_in_autocast and not self.scaler.is_enabled()
        if self.scaler.is_enabled() and recipe.momentum > 0:
            # The fused optimiser would allocate momentum without a value, and keep that if its first step is skipped.
            for parameter in self.parameters:
                self.optimiser.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)

    def __call__(self, batch: Mapping[str, Tensor], lr: float, mark: Mark = no_mark) -> StepLosses:
        """Train on one batch: images (B,3,h,w) uint8, target (B,h,w) uint8, index (B,), labelled (B,).

        Images that are float32 are taken as normalised already.
        """
        self.compiler.start_step()
        images, samples = self._transfer(batch)
        mark("transfer")
        with self._autocast():
            teacher_out = self._ask_teacher(images, self.teacher_needs)
            mark("teacher")
            student_out = self._run_student(images, self.student_needs)
            mark("student")
            teacher_out = on_grid_of(student_out, teacher_out)  # once, for all terms and the adversary
            labels = Labels(samples.target, self._pixel_weight, self._mean_over(samples.target))
            terms = {"ce": upsampled_cross_entropy(student_out.logits, labels)}
            total = terms["ce"]
            if self.aux_weight > 0:
                terms["aux"] = upsampled_cross_entropy(student_out.aux_logits, labels)
                total = total + self.aux_weight * terms["aux"]
        outputs = student_out, teacher_out, samples
        for name, value in self._call(self.method, *outputs, under_autocast=self._losses_in_autocast).items():
            terms[name] = value
            total = total + self.weights[name] * value
        mark("loss")
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(total).backward()
        mark("backward")
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        self.scaler.step(self.optimiser)
        self.scaler.update()
        mark("optimiser")
        if self.method.has_adversary:
            train = partial(self.method.adversary_step, lr_factor=lr / self.recipe.lr)
            outputs = detached(student_out), teacher_out, samples
            terms |= self._call(train, *outputs, under_autocast=self._training_in_autocast)
            mark("adversary")
        return StepLosses(total.detach(), {name: value.detach() for name, value in terms.items()})

    def pretrain(self, batch: Mapping[str, Tensor], lr_factor: float, mark: Mark = no_mark) -> StepLosses:
        """One step of the method's pre-training on one batch; the student is not touched."""
        self.compiler.start_step()
        images, samples = self._transfer(batch)
        mark("transfer")
        with self._autocast():
            teacher_out = self._ask_teacher(images, self.method.pretrain_needs)
        mark("teacher")
        train = partial(self.method.pretrain_step, lr_factor=lr_factor)
        terms = self._call(train, teacher_out, samples, under_autocast=self._training_in_autocast)
        mark("loss")
        return StepLosses(torch.stack(list(terms.values())).sum(), terms)

    def _transfer(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Batch]:
        """Convert bytes to float32 and int64, on the device and on the train clock.

        A batch that is not on the device yet is copied as it lies in memory; the device reorders it.
        """
        images = batch["images"].to(self.device, non_blocking=True).contiguous(memory_format=self.memory_format)
        there = {name: batch[name].to(self.device, non_blocking=True) for name in ("target", "index", "labelled")}
        if self._normalise is not None and images.dtype == torch.uint8:
            images = self._images = self._normalise(images, out=self._images)
        self._target = filled(self._target, there["target"], torch.int64)
        return images, Batch(**{**there, "target": self._target})

    def _mean_over(self, target: Tensor) -> float | None:
        """Pixels that the cross-entropy is a mean over: all of images with labels, or None for the labelled ones."""
        if self.recipe.cross_entropy_over == "labelled":
            return None
        return target.numel() * (1 - self.recipe.unlabelled_per_batch / self.recipe.batch)

    def _autocast(self, *, enabled: bool = True) -> torch.autocast:
        return autocast(self.recipe.precision, self.device, enabled=enabled)

    def _call(
        self, work: Callable[..., dict[str, Tensor]], *arguments: SegmenterOutput | Batch, under_autocast: bool
    ) -> dict[str, Tensor]:
        """Call a part of the method under autocast, or outside of it and with the networks' outputs in float32."""
        if not under_autocast:
            arguments = tuple(_in_float32(one) if isinstance(one, SegmenterOutput) else one for one in arguments)
        with self._autocast(enabled=under_autocast):
            return work(*arguments)

    def _ask_teacher(self, images: Tensor, needs: frozenset[str]) -> SegmenterOutput:
        if self.teacher is None or not needs:
            return NO_OUTPUT
        with torch.no_grad():
            output: SegmenterOutput = self._run_teacher(images, needs)
        return output


def _in_float32(output: SegmenterOutput) -> SegmenterOutput:
    """The same outputs, converted where autocast made them shorter."""
    return SegmenterOutput(
        None if output.logits is None else in_loss_precision(output.logits),
        None if output.aux_logits is None else in_loss_precision(output.aux_logits),
        {name: in_loss_precision(feature) for name, feature in output.features.items()},
    )


def _place(module: nn.Module, device: torch.device, memory_format: torch.memory_format) -> None:
    module.to(device).to(memory_format=memory_format)


def class_weights(pixel_counts: list[int], kind: str) -> Tensor | None:
    """Weights of the classes in the cross-entropy from their pixel counts in the training split; None for kind `none`.

    `sqrt-median-frequency`: (median frequency / frequency)^0.5 over the classes that occur; 1 for one that never does.
    """
    if kind == "none":
        return None
    counts = torch.tensor(pixel_counts, dtype=torch.float64)
    present = counts > 0
    weights = torch.ones_like(counts)
    weights[present] = (counts[present].median() / counts[present]).sqrt()
    return weights.float()
