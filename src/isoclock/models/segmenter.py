"""The contract of a segmentation network. A new architecture is one file with one subclass of `Segmenter`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from isoclock.errors import UserError
from isoclock.models.card import Stride
from isoclock.models.outputs import AUX_LOGITS, LOGITS, ChannelSpec, SegmenterOutput


class Segmenter(nn.Module, ABC):
    """A network that gives logits and taps, and computes only the outputs that it is asked for.

    The constructor takes `(num_classes, *, weights=None, **params)`. `weights` is "random", a tag of timm, "imagenet" or the
    path of a file or folder: what the network starts from. None means that trained weights of the whole network are loaded
    later. The constructor draws from torch's generator, on the CPU, and leaves the network in float32 and in training mode. It
    sets `weights_file` to the file or folder that it read, whose digest goes into the record.

    A subclass states these facts as literals in its class body, where they are read without torch:

    - params: the rule of each parameter under `params` in params/models.yaml, see `isoclock.facts.Rules`.
    - output_stride: pixels of the image for each pixel of the logits, along a side. Where a parameter determines it, the
      name of that parameter, or {parameter: {value: stride}}, and the constructor sets the attribute to the number. The same
      holds for the strides of `taps` and for `auxiliary_stride`.
    - taps: the stride of each feature map that methods may read, by name. Every architecture has `backbone` (last stage of the
      encoder) and `head` (input of the classifier, before dropout), which our methods read; it may have more.
    - imagenet, of an architecture whose encoder is on the Hugging Face hub: {parameter: {its value: repository}}, which
      `weights: imagenet` means. Encoders of timm and segmentation-models-pytorch need none: the parameter is called `encoder`.
    - auxiliary_head: whether there is an auxiliary head that gives `aux_logits`, at `auxiliary_stride` or, without that, at
      `output_stride`. A network without one trains without auxiliary cross-entropy.

    Distillation compares maps of one size: where the strides of student and teacher differ, the teacher's maps are resampled
    to the student's size (`isoclock.methods.resampling`). The `tuned` kernels of our methods are measured at stride 8; at
    another stride they give the same values, at other costs.

    Logits are class scores whose softmax is the class distribution of a pixel. A network that gives probabilities returns
    their logarithms.
    """

    params: ClassVar[Mapping[str, Mapping[str, Any]]]
    output_stride: Stride
    taps: Mapping[str, Stride]
    auxiliary_head: ClassVar[bool] = False
    auxiliary_stride: Stride | None = None
    channels: ChannelSpec
    num_classes: int
    weights_file: Path | None = None

    @abstractmethod
    def forward(self, images: Tensor, want: Set[str] = frozenset({LOGITS})) -> SegmenterOutput:
        """Outputs named in `want` for normalised images (B, 3, H, W) of any size.

        An output of stride s has ceil(H / s) x ceil(W / s) pixels. Raises ValueError for an unknown name (`check_wanted`).
        """

    def reorder_classes(self, order: Sequence[int]) -> None:
        """Make output `order[k]` output k, for a trained network whose classes are in another order.

        Raises UserError for an architecture that does not define it.
        """
        raise UserError(f"{type(self).__name__}: its {len(order)} classes are in another order; define reorder_classes")

    def check_wanted(self, want: Set[str]) -> None:
        """Raise ValueError if `want` names an output that this architecture does not have."""
        known = {LOGITS, *self.taps, *([AUX_LOGITS] if self.auxiliary_head else [])}
        if unknown := sorted(want - known):
            raise ValueError(f"{type(self).__name__} has no output {', '.join(unknown)}; choose from {sorted(known)}")
