"""Angular feature distillation, RECONSTRUCTED: neither code nor full text of the original method is public."""

from __future__ import annotations

from torch import Tensor

from isoclock.kernels.normalising import unit_vectors
from isoclock.kernels.precision import in_loss_precision
from isoclock.kernels.projector import build_projector
from isoclock.methods.contract import Batch, Draw, Method
from isoclock.models.outputs import SegmenterOutput


class Raw(Method):
    """L = mean over vectors of 1 - cos(P f^S, f^T) = 1/2 |u - v|^2, u and v the vectors of both over their lengths.

    Only the abstract of the original ("raw features", Tao Liu et al., WACV 2024) is known: the L2 distance of features is
    split into magnitude and angle, and the angular part suffices. Vectors, tap, projector and weight are not known, so
    this is "Angular-FD, reconstructed", and none of its scores is a reproduction.

    P is a trainable 1x1 projector. `axis`: the vectors are each pixel's C_T channels ("pixel", B h w of them), each
    channel's h w positions in each image ("channel", B C_T of them), or the latter less their mean ("centred-channel":
    1 - correlation over space, as in the same group's NFD, arXiv 2207.05256). Vectors shorter than 1e-6 are divided
    by 1e-6.
    """

    title = "raw feature angles (reconstructed)"
    source = "reconstruction after the abstract of Liu et al., WACV 2024 (no public code); ours"
    terms = ("angular",)
    published = {"angular": "nothing: the original's weight is not public"}
    params = {
        "tap": {"type": "choice", "of": ("head", "backbone"), "default": "head"},
        "projector": {"type": "choice", "of": ("conv", "conv-bias", "conv-bn", "conv-bn-relu"), "default": "conv"},
        "axis": {"type": "choice", "of": ("pixel", "channel", "centred-channel"), "default": "pixel"},
    }
    reads = {"angular": ("{tap}",)}
    cost = "three products of C_S x C_T over B h w pixels; written plainly, most time goes into maps of C_T channels"

    def build(self) -> None:
        """The projector, C_S to C_T channels."""
        tap = self.settings["tap"]
        self.projector = build_projector(
            self.settings["projector"], self.student_channels.of(tap), self.teacher_channels.of(tap)
        )

    def compute(
        self,
        student: SegmenterOutput,
        teacher: SegmenterOutput,
        batch: Batch,  # noqa: ARG002
        draw: Draw,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """{"angular": scalar}."""
        ours, theirs = student.features[self.settings["tap"]], teacher.features[self.settings["tap"]]
        by_pixel, centred = self.settings["axis"] == "pixel", self.settings["axis"] == "centred-channel"
        dim = 1 if by_pixel else 2
        vectors = theirs.numel() // (theirs.shape[1] if by_pixel else theirs.shape[2] * theirs.shape[3])
        projected, theirs = (in_loss_precision(one).flatten(2) for one in (self.projector(ours), theirs))
        if centred:
            projected, theirs = (one - one.mean(2, keepdim=True) for one in (projected, theirs))
        difference = unit_vectors(projected, dim=dim) - unit_vectors(theirs, dim=dim)
        return {"angular": difference.pow(2).sum() / (2 * vectors)}
