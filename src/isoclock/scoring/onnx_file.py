"""A segmenter as an ONNX file, and its logits in onnxruntime against those of torch."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from isoclock.data.loading.colour import Colour
from isoclock.errors import UserError
from isoclock.models.outputs import LOGITS
from isoclock.models.segmenter import Segmenter
from isoclock.records.exported import Compared

INPUT = "image"
LARGEST_DIFFERENCE = 1e-3
"""Of a logit, over the largest absolute logit: float32 sums in another order differ by less."""
SAME_CLASS = 0.999

_PACKAGES = ("onnx", "onnxruntime", "onnxscript")


class Portable(nn.Module):
    """A segmenter with its normalisation: RGB image (1, 3, H, W) float32 in 0..255 -> logits (1, K, h, w) at its stride.

    Changes the segmenter: its pooling to a given size is replaced by `FixedPooling`, its mode by that of evaluation.
    """

    shift: Tensor
    factor: Tensor

    def __init__(self, segmenter: Segmenter, colour: Colour) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.register_buffer("shift", torch.from_numpy(colour.shift).view(3, 1, 1))
        self.register_buffer("factor", torch.from_numpy(colour.factor).view(3, 1, 1))
        for module in list(segmenter.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, nn.AdaptiveAvgPool2d):
                    setattr(module, name, FixedPooling(child.output_size))
        self.eval()

    def forward(self, image: Tensor) -> Tensor:
        """Logits of an image."""
        logits = self.segmenter((image - self.shift) * self.factor, want=frozenset({LOGITS})).logits
        assert isinstance(logits, Tensor)
        return logits


class FixedPooling(nn.Module):
    """nn.AdaptiveAvgPool2d as two products, for maps of the size of the first one: ONNX does not have it."""

    rows: Tensor | None
    columns: Tensor | None

    def __init__(self, size: int | tuple[int | None, int | None] | None) -> None:
        super().__init__()
        self.size = size if isinstance(size, tuple) else (size, size)
        self.register_buffer("rows", None)
        self.register_buffer("columns", None)

    def forward(self, maps: Tensor) -> Tensor:
        """Means (B, C, m, n) of maps (B, C, H, W)."""
        if self.rows is None or self.columns is None:
            height, width = maps.shape[-2:]
            self.rows = _averages(height, self.size[0] or height)
            self.columns = _averages(width, self.size[1] or width).T.contiguous()
        return self.rows @ maps @ self.columns


def check_packages() -> None:
    """Raise UserError unless the packages that this needs are installed."""
    if missing := [name for name in _PACKAGES if find_spec(name) is None]:
        raise UserError(f'module {missing[0]!r} is not installed; run: pip install "isoclock[export]"')


def write_onnx(network: Portable, image: Tensor, path: Path) -> None:
    """Write a network for images of the shape of `image` (1, 3, H, W). Raises UserError if ONNX cannot express it."""
    with torch.no_grad():
        network(image)  # determines the pooling
        try:
            program = torch.onnx.export(
                network, (image,), input_names=[INPUT], output_names=[LOGITS], dynamo=True, verbose=False
            )
        except Exception as error:  # torch, onnxscript and onnx each raise their own
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            architecture = type(network.segmenter).__name__
            raise UserError(
                f"{architecture} cannot be written as ONNX ({reason}); use its weights with torch"
            ) from error
    assert program is not None
    program.save(path, external_data=False)


def compare(network: Portable, path: Path, images: Sequence[Tensor]) -> Compared:
    """Compare logits of images (1, 3, H, W) float32. Raises UserError if the ONNX file does not give those of torch."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    largest, same, pixels = 0.0, 0, 0
    for image in images:
        with torch.no_grad():
            ours = network(image).numpy()
        (theirs,) = session.run([LOGITS], {INPUT: image.numpy()})
        difference = np.abs(ours - theirs).max() / max(np.abs(ours).max(), np.finfo(np.float32).tiny)
        largest = max(largest, float(difference)) if np.isfinite(difference) else np.inf
        same += int((ours.argmax(axis=1) == theirs.argmax(axis=1)).sum())
        pixels += ours.shape[2] * ours.shape[3]
    if largest > LARGEST_DIFFERENCE or same < SAME_CLASS * pixels:
        raise UserError(
            f"{path.name}: gives other logits in onnxruntime than in torch (by {largest:.2g} of the largest; "
            f"{pixels - same} of {pixels} pixels have another class); use the weights with torch, and report this"
        )
    return Compared(images=len(images), largest_difference=largest, same_class=same / pixels)


def _averages(given: int, wanted: int) -> Tensor:
    """(wanted, given): each row is the mean over its part of an axis, as nn.AdaptiveAvgPool2d divides it."""
    matrix = torch.zeros(wanted, given)
    for row in range(wanted):
        first, last = row * given // wanted, -(-(row + 1) * given // wanted)
        matrix[row, first:last] = 1 / (last - first)
    return matrix
