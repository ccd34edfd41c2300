"""Correlation congruence (Peng et al., ICCV 2019, arXiv 1904.01802), in the one form that its author handed out."""

from __future__ import annotations

from torch import Tensor, nn

from isoclock.kernels.grouping import mean_over_groups
from isoclock.kernels.precision import in_loss_precision
from isoclock.methods.contract import Batch, Draw, Method
from isoclock.models.outputs import SegmenterOutput


class CC(Method):
    """cc = 1 / (B - 1) sum over i < B of |delta_i| . |delta_(i+1)|, delta_i = A^S g^S_i - A^T g^T_i.

    g_i is the average of image i's feature over its positions, A^S and A^T are trainable linear maps with bias to
    `embedding` numbers, |.| is taken number by number. Neighbours are compared within a group of `images_per_group`
    consecutive images (0: the batch), as on one device; one image alone gives exactly 0 (NaN in the published code). This
    is not the paper's kernel expansion.
    """

    title = "correlation congruence"
    source = (
        "Peng et al. 2019, arXiv 1904.01802; HobbitLong/RepDistiller@b84f547 distiller_zoo/CC.py,"
        " models/util.py (LinearEmbed)"
    )
    terms = ("cc",)
    published = {"cc": "weight 0.02, 128 numbers (RepDistiller, CIFAR-100; no segmentation run is known)"}
    params = {
        "tap": {"type": "choice", "of": ("head", "backbone"), "default": "head"},
        "embedding": {"type": "integer", "at_least": 1, "default": 128},
        "images_per_group": {"type": "integer", "at_least": 0, "default": 64},
    }
    reads = {"cc": ("{tap}",)}
    cost = "reading the two maps once; 0 for one image"

    def build(self) -> None:
        """The two embeddings; the teacher's is trained as well."""
        tap, width = self.settings["tap"], self.settings["embedding"]
        self.embed_student = nn.Linear(self.student_channels.of(tap), width)
        self.embed_teacher = nn.Linear(self.teacher_channels.of(tap), width)

    def compute(
        self,
        student: SegmenterOutput,
        teacher: SegmenterOutput,
        batch: Batch,  # noqa: ARG002
        draw: Draw,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """{"cc": scalar}."""
        tap = self.settings["tap"]
        ours = self.embed_student(in_loss_precision(student.features[tap]).mean((2, 3)))
        theirs = self.embed_teacher(in_loss_precision(teacher.features[tap]).mean((2, 3)))
        delta = (in_loss_precision(ours) - in_loss_precision(theirs)).abs()
        return {"cc": mean_over_groups(_congruence, self.settings["images_per_group"], delta)}


def _congruence(delta: Tensor) -> Tensor:
    pairs = (delta[:-1] * delta[1:]).sum(1)
    return pairs.sum() / max(1, len(pairs))
