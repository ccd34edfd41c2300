"""Correlation congruence (Peng et al., ICCV 2019, arXiv 1904.01802), in the one form that its author handed out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from isoclock.kernels.pooling import image_vectors
from isoclock.methods.card import TUNED
from isoclock.methods.contract import Batch, Draw, Method
from isoclock.models.outputs import SegmenterOutput


class CC(Method):
    """cc = 1 / (B - 1) sum over i < B of |delta_i| . |delta_(i+1)|, delta_i = A^S g^S_i - A^T g^T_i.

    g_i is the average of image i's feature over its positions, A^S and A^T are trainable linear maps with bias to
    `embedding` numbers, |.| is taken number by number. Neighbours in the batch are compared, so that one image alone
    gives exactly 0 (NaN in the published code). This is not the paper's kernel expansion.
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
    }
    implementations = ("reference", "tuned")
    reads = {"cc": ("{tap}",)}
    cost = "reading the two maps once; 0 for one image"
    made_fast_by = "the two averages without float32 copies, their gradient an expanded view; nothing else to gain"

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
        """{"cc": scalar}. The cost is reading the two maps once, in both implementations."""
        tap, tuned = self.settings["tap"], self.implementation == TUNED
        ours = image_vectors(student.features[tap], tuned=tuned)
        theirs = image_vectors(teacher.features[tap], tuned=tuned)
        with torch.autocast(ours.device.type, enabled=False):
            delta = (self.embed_student(ours) - self.embed_teacher(theirs)).abs()
        pairs = (delta[:-1] * delta[1:]).sum(1)
        return {"cc": pairs.sum() / max(1, len(pairs))}
