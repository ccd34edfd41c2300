"""Predict a split with a segmenter, and count what it got right: all that scores are made of."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from isoclock.data.loading.normalise import Normalise
from isoclock.data.loading.stream import whole_images
from isoclock.data.loading.waiting import Waited, stopped_by
from isoclock.errors import DataError
from isoclock.models.trained import load_weights, new_segmenter
from isoclock.scoring.confusion import checked_counts, confusion_matrix, label_counts
from isoclock.scoring.views import label_map, look
from isoclock.training.arithmetic import use_arithmetic, without_benchmark

if TYPE_CHECKING:
    from isoclock.data.loading.pixels import SplitPixels
    from isoclock.models.segmenter import Segmenter
    from isoclock.params.schema import Model, Recipe, Scoring

_AUTOCAST = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
_SHORT = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
_IMAGES_AT_ONCE = 16
"""Images whose counts stay on an accelerator before they are copied; until then nothing synchronises with it."""

Sample = tuple[torch.Tensor, NDArray[np.uint8], str]


@dataclass(frozen=True)
class Counted:
    """Confusion matrices of a split: fields of `isoclock.scoring.scores.Scores`."""

    total: NDArray[np.int64]
    per_image: NDArray[np.uint32]
    names: tuple[str, ...]
    evaluate_s: float
    nonfinite: int
    predictions: dict[int, NDArray[np.uint8]]


def trained_network(
    model: Model, recipe: Recipe, num_classes: int, weights: Path, made_by: str, device: torch.device
) -> Segmenter:
    """A network with its trained weights, as it was trained: memory format, CPU threads, arithmetic.

    Raises ArtifactError without weights.
    """
    network = new_segmenter(model, num_classes, initial=False)
    load_weights(network, weights, made_by)
    network.to(device)
    if recipe.channels_last:
        network.to(memory_format=torch.channels_last)
    torch.set_num_threads(recipe.threads)
    use_arithmetic(recipe, device)
    return network


def predict_split(
    model: torch.nn.Module,
    split: SplitPixels,
    recipe: Recipe,
    num_classes: int,
    device: torch.device,
    keep: Collection[int] = (),
) -> Counted:
    """Predict a split as the recipe's `scoring` says, in the precision and with the normalisation of training.

    Raises NoData if an image is not read within `loader_timeout_s`.
    """
    with stopped_by(None):  # a run that is stopped in an evaluation would not repeat it
        return predict(
            model,
            Waited(whole_images(split), recipe.loader_timeout_s, "this process, which scores"),
            num_classes=num_classes,
            scoring=recipe.scoring,
            precision=recipe.precision,
            channels_last=recipe.channels_last,
            device=device,
            normalise=Normalise.last_of(recipe.colour),
            keep=keep,
        )


def predict(
    model: torch.nn.Module,
    samples: Iterable[Sample],
    *,
    num_classes: int,
    scoring: Scoring,
    precision: str = "float32",
    channels_last: bool = False,
    device: torch.device | str = "cpu",
    normalise: Callable[[torch.Tensor], torch.Tensor] = torch.Tensor.float,
    progress: Callable[[int], None] | None = None,
    keep: Collection[int] = (),
) -> Counted:
    """Predict and count `samples`, one image at a time, with the options of `scoring`.

    A sample is (image (1, 3, H, W), label uint8 (h, w) with 255 = ignore, name); the prediction is made at the label's
    size. The image is copied to the device as it is, and `normalise` makes it the network's float32 input there. `keep`
    has the numbers of the images whose prediction is returned for overlays; `progress` is called with the number of
    images done. The model's training flag is restored afterwards.

    Raises DataError if there is nothing to score or a label value is not a class, ValueError for an unknown precision or
    logits of another K.
    """
    device = torch.device(device)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    counts = _Counts(num_classes, device)
    predictions: dict[int, NDArray[np.uint8]] = {}
    was_training = model.training
    started = time.perf_counter()
    cv2.setNumThreads(1)  # as in loading: its thread pool competes with torch's, and does not survive a fork

    def forward(image: torch.Tensor) -> torch.Tensor:
        with _autocast(device, precision):
            logits: torch.Tensor = model(image, want=frozenset({"logits"})).logits
        if logits.shape[:2] != (1, num_classes):
            raise ValueError(f"logits of shape {tuple(logits.shape)}, not (1, {num_classes}, h, w)")
        return logits

    model.eval()
    try:
        with torch.no_grad(), without_benchmark():
            for number, (image, label, name) in enumerate(samples):
                pixels = normalise(_on(image, device))
                views = look(forward, pixels.contiguous(memory_format=layout), scoring)
                predicted = label_map(views, (label.shape[0], label.shape[1]))
                counts.add(label, predicted, [logits for view in views for logits in view.logits], name)
                if number in keep:
                    predictions[number] = predicted.cpu().numpy()
                if progress is not None:
                    progress(number + 1)
    finally:
        model.train(was_training)
    if not counts.names:
        raise DataError("no image to evaluate: the split is empty; run `isoclock prepare` and check its index")
    per_image, nonfinite = counts.fetched()
    total = per_image.sum(axis=0, dtype=np.int64)
    return Counted(total, per_image, tuple(counts.names), time.perf_counter() - started, nonfinite, predictions)


class _Counts:
    """Confusion matrices image by image. Synchronises with an accelerator once per `_IMAGES_AT_ONCE` images."""

    def __init__(self, num_classes: int, device: torch.device) -> None:
        self.names: list[str] = []
        self._classes, self._device = num_classes, device
        self._found: list[NDArray[np.uint32]] = []
        self._finite: list[torch.Tensor] = []
        self._pending: list[torch.Tensor] = []

    def add(self, truth: NDArray[np.uint8], predicted: torch.Tensor, logits: Iterable[torch.Tensor], name: str) -> None:
        """Count an image. Raises DataError for a label value that is not a class, here or later in `fetched`."""
        self.names.append(name)
        self._finite.append(torch.stack([part.isfinite().all() for part in logits]).all())
        if _counts_on_cpu(self._device):
            self._keep(lambda: confusion_matrix(truth, predicted.numpy(), self._classes), name)
            return
        on_device = _on(torch.from_numpy(np.array(truth)), self._device)  # a copy: mapped files are read-only
        self._pending.append(label_counts(on_device, predicted, self._classes))
        if len(self._pending) == _IMAGES_AT_ONCE:
            self._fetch()

    def fetched(self) -> tuple[NDArray[np.uint32], int]:
        """Matrices (n, K, K), and how many images had a logit that is not finite."""
        self._fetch()
        return np.stack(self._found), int((~torch.stack(self._finite)).sum())

    def _fetch(self) -> None:
        if self._pending:
            names = self.names[-len(self._pending) :]
            for counts, name in zip(torch.stack(self._pending).cpu().numpy(), names, strict=True):
                self._keep(lambda counts=counts: checked_counts(counts, self._classes), name)  # type: ignore[misc]
            self._pending.clear()

    def _keep(self, count: Callable[[], NDArray[np.int64]], name: str) -> None:
        try:
            self._found.append(count().astype(np.uint32))
        except ValueError as error:
            raise DataError(f"{name}: {error}; run `isoclock prepare` again") from None


def _counts_on_cpu(device: torch.device) -> bool:
    return device.type == "cpu"


def _on(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    # A copy from pinned memory does not wait for earlier work of the device.
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    name = _SHORT.get(precision, precision)
    if name not in _AUTOCAST:
        raise ValueError(f"unknown precision {precision!r}; choose from {', '.join(_AUTOCAST)}")
    kind = _AUTOCAST[name]
    return nullcontext() if kind is None else torch.autocast(device.type, dtype=kind)
