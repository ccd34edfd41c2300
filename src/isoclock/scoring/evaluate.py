"""Score a segmenter on whole images at a single scale."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from isoclock.artifacts import written_atomically
from isoclock.errors import DataError
from isoclock.scoring.confusion import confusion_matrix_torch, iou, mean_iou, pixel_accuracy

_AUTOCAST = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
_SHORT = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
_FLOATS_AT_ONCE = 1 << 24
"""Upsampled logits held at a time (64 MiB): 19 classes at 2048x1024 would take 152 MiB, 150 classes 1.2 GiB."""

Sample = tuple[torch.Tensor, NDArray[np.uint8], str]


@dataclass(frozen=True)
class Scores:
    """What one evaluation found.

    `total` (K, K) int64 and `per_image` (n, K, K) uint32 have rows = truth, columns = prediction. `predictions` holds
    the label maps that were asked for, uint8 (H, W), by image number. `nonfinite` counts images with a NaN or
    infinite logit: such a network has diverged and has no score.
    """

    total: NDArray[np.int64]
    per_image: NDArray[np.uint32]
    names: tuple[str, ...]
    evaluate_s: float
    nonfinite: int = 0
    predictions: dict[int, NDArray[np.uint8]] = field(default_factory=dict)

    @property
    def miou(self) -> float | None:
        """Mean IoU, 0..1; None for a diverged network."""
        return None if self.nonfinite else mean_iou(self.total)

    def as_json(
        self,
        *,
        classes: Collection[str],
        dataset: str,
        weights: str | None,
        iterations: int,
        cell: dict[str, Any] | None = None,
        status: str = "finished",
        split: str = "val",
    ) -> dict[str, Any]:
        """The content of scores.json; `weights` is their SHA-256, `cell` None for a teacher."""
        if len(classes) != len(self.total):
            raise ValueError(f"{len(classes)} class names for {len(self.total)} classes")
        diverged = bool(self.nonfinite) or status == "diverged"
        return {
            "schema": 1,
            "cell": cell,
            "dataset": dataset,
            "split": split,
            "status": "diverged" if diverged else status,
            "iterations": iterations,
            "images": len(self.names),
            "weights": weights,
            "miou": None if diverged else self.miou,
            "pixel_accuracy": None if diverged else pixel_accuracy(self.total),
            "per_class_iou": dict(zip(classes, self._class_scores(diverged), strict=True)),
        }

    def write_confusion(self, path: Path) -> None:
        """Write confusion.npz (`total`, `per_image`, `names`), atomically; equal scores are equal bytes."""
        with written_atomically(path) as temporary:
            np.savez_compressed(
                temporary, total=self.total, per_image=self.per_image, names=np.array(self.names, dtype=str)
            )

    def _class_scores(self, diverged: bool) -> list[float | None]:
        return [None if diverged or np.isnan(value) else float(value) for value in iou(self.total)]


def evaluate_segmenter(
    model: torch.nn.Module,
    samples: Iterable[Sample],
    *,
    num_classes: int,
    precision: str = "float32",
    channels_last: bool = False,
    device: torch.device | str = "cpu",
    progress: Callable[[int], None] | None = None,
    keep: Collection[int] = (),
) -> Scores:
    """Score `model` on `samples`: whole image, single scale, no flip, batch 1.

    A sample is (image float32 (1, 3, H, W), label uint8 (h, w) with 255 = ignore, name). The logits are upsampled
    bilinearly (align_corners=False) to the label's size. `keep` names the images (by number) whose prediction is
    returned for overlays; `progress` hears the number of images done. The model's training flag is put back afterwards.

    Raises DataError when there is nothing to score, ValueError for an unknown precision or logits of another K.
    """
    device = torch.device(device)
    confusions: list[NDArray[np.uint32]] = []
    names: list[str] = []
    predictions: dict[int, NDArray[np.uint8]] = {}
    nonfinite = 0
    was_training = model.training
    started = time.perf_counter()
    model.eval()
    try:
        with torch.no_grad():
            for number, (image, label, name) in enumerate(samples):
                image = image.to(device, memory_format=torch.channels_last if channels_last else torch.preserve_format)
                with _autocast(device, precision):
                    logits = model(image, want=frozenset({"logits"})).logits
                if logits.shape[:2] != (1, num_classes):
                    raise ValueError(f"{name}: logits of shape {tuple(logits.shape)}, not (1, {num_classes}, h, w)")
                nonfinite += not bool(torch.isfinite(logits).all())
                predicted = upsampled_argmax(logits, (label.shape[0], label.shape[1]))
                truth = torch.from_numpy(np.array(label)).to(device)  # a copy: mapped files are read-only
                confusions.append(_counted(truth, predicted, num_classes, name))
                names.append(name)
                if number in keep:
                    predictions[number] = predicted.to(torch.uint8).cpu().numpy()
                if progress is not None:
                    progress(number + 1)
    finally:
        model.train(was_training)
    if not names:
        raise DataError("no image to evaluate: the split is empty; run `isoclock prepare` and look at its index")
    per_image = np.stack(confusions)
    total = per_image.sum(axis=0, dtype=np.int64)
    return Scores(total, per_image, tuple(names), time.perf_counter() - started, nonfinite, predictions)


def upsampled_argmax(logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Class of the largest logit after bilinear upsampling: (1, K, h, w) -> int64 (H, W).

    Works through the classes in chunks with a running maximum, so that memory does not grow with K. Ties go to the
    lower class, as in one argmax. A bilinear map treats channels apart, so nothing changes in value.
    """
    logits = logits.float()
    if tuple(logits.shape[2:]) == size:
        return logits[0].argmax(dim=0)
    # Contiguous, because interpolation of a few channels out of a channels-last tensor walks memory in large strides.
    logits = logits.contiguous()
    chunk = max(1, _FLOATS_AT_ONCE // (size[0] * size[1]))
    best: torch.Tensor | None = None
    winner = torch.empty(0)
    for first in range(0, logits.shape[1], chunk):
        part = functional.interpolate(logits[:, first : first + chunk], size, mode="bilinear", align_corners=False)[0]
        value, index = part.max(dim=0)
        if best is None:
            best, winner = value, index
            continue
        higher = value > best
        winner = torch.where(higher, index + first, winner)
        best = torch.where(higher, value, best)
    return winner


def _counted(truth: torch.Tensor, predicted: torch.Tensor, num_classes: int, name: str) -> NDArray[np.uint32]:
    try:
        return confusion_matrix_torch(truth, predicted, num_classes).cpu().numpy().astype(np.uint32)
    except ValueError as error:
        raise DataError(f"{name}: {error}; run `isoclock prepare` again") from None


def _autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    name = _SHORT.get(precision, precision)
    if name not in _AUTOCAST:
        raise ValueError(f"precision {precision!r} is none of {', '.join(_AUTOCAST)}")
    kind = _AUTOCAST[name]
    return nullcontext() if kind is None else torch.autocast(device.type, dtype=kind)
