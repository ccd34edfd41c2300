"""Score a segmenter on a split: predictions and confusion matrices."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import torch

from isoclock.params.schema import Scoring
from isoclock.scoring.predict import Sample, predict
from isoclock.scoring.scores import Scores


def evaluate_segmenter(
    model: torch.nn.Module,
    samples: Iterable[Sample],
    *,
    num_classes: int,
    scoring: Scoring | None = None,
    precision: str = "float32",
    channels_last: bool = False,
    device: torch.device | str = "cpu",
    progress: Callable[[int], None] | None = None,
    keep: Collection[int] = (),
) -> Scores:
    """Score `model` on `samples`, one image at a time, with the options of `scoring` (default: whole, one scale, no flip).

    A sample is (image float32 (1, 3, H, W), label uint8 (h, w) with 255 = ignore, name); the prediction is made at the
    label's size. `keep` has the numbers of the images whose prediction is returned for overlays; `progress` is called with
    the number of images done. The model's training flag is restored afterwards.

    Raises DataError if there is nothing to score or a label value is not a class, ValueError for an unknown precision or
    logits of another K.
    """
    scoring = scoring or Scoring()
    counted = predict(
        model,
        samples,
        num_classes=num_classes,
        scoring=scoring,
        precision=precision,
        channels_last=channels_last,
        device=device,
        progress=progress,
        keep=keep,
    )
    return Scores(**vars(counted), scoring=scoring)
