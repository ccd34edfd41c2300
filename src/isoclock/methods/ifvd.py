"""Intra-class feature variation distillation (Wang et al., ECCV 2020): the similarity of a pixel to the centre of its class."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from isoclock.kernels.labels import labels_on_grid
from isoclock.kernels.precision import in_loss_precision
from isoclock.methods.card import TUNED
from isoclock.methods.contract import Batch, Draw, Method
from isoclock.models.outputs import SegmenterOutput

COUNT_EPS, NORM_EPS = 1e-6, 1e-8


class IFVD(Method):
    """L = 1 / (B N) sum over labelled pixels p of (v^S_p - v^T_p)^2, N = h w, with v_p = cos(f_p, m_y(p)) over channels.

    m_c = (sum of f_p over the image's pixels of class c) / (n_c + 1e-6) is the class's centre in that image, y the
    labels, nearest on the grid; f (B, C, h, w) is the tap, each network with its own channels and no projector. The
    gradient flows through pixels and centres. Ignored pixels are compared with themselves, so they add exactly zero,
    but count in N. The published code goes through all K classes, present or not, and keeps a pair of (B, C, h, w) masks
    for each.

    Niemann et al. 2023 (arXiv 2309.03659) report that IFVD's gain vanishes once hyper-parameters are tuned.
    """

    title = "intra-class feature variation distillation"
    source = (
        "Wang et al. 2020, ECCV; YukangWang/IFVD@950a7a5 utils/criterion.py; winycg/CIRKD@2d8ad0f losses/ifvd.py"
        " (same values)"
    )
    terms = ("ifvd",)
    published = {"ifvd": "weight 200 (YukangWang/IFVD, with KD 10 and a GAN), 20 (CIRKD, with KD 1 and a GAN)"}
    params = {"tap": {"type": "choice", "of": ("head", "backbone"), "default": "head"}}
    implementations = ("reference", "tuned")
    reads = {"ifvd": ("{tap}",)}
    cost = (
        "K full passes of about ten operations over both features as published, masks and maps of each class kept"
        " for backward; as tuned two products with K rows over each feature, and their backward"
    )
    made_fast_by = (
        "class centres by a product with one-hot labels, the similarities to all centres by another: no loop over"
        " classes, no mask and no map of centres"
    )

    def compute(
        self,
        student: SegmenterOutput,
        teacher: SegmenterOutput,
        batch: Batch,
        draw: Draw,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """{"ifvd": scalar}."""
        ours, theirs = student.features[self.settings["tap"]], teacher.features[self.settings["tap"]]
        labels = labels_on_grid(batch.target, (ours.shape[-2], ours.shape[-1]))
        ours, theirs = in_loss_precision(ours), in_loss_precision(theirs)
        similarity = _similarity_by_products if self.implementation == TUNED else _similarity
        difference = similarity(ours, labels, self.num_classes) - similarity(theirs, labels, self.num_classes)
        known = (labels >= 0) & (labels < self.num_classes)
        return {"ifvd": torch.where(known, difference, 0.0).square().mean()}


def _similarity(feature: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """v (B, h, w) as published: class after class is written over a copy of the whole map."""
    spread = labels[:, None].expand(feature.shape)
    centres = feature.clone()
    for train_id in range(num_classes):
        mask = (spread == train_id).to(feature.dtype)
        centre = (mask * feature).sum((2, 3)) / (mask.sum((2, 3)) + COUNT_EPS)
        centres = (1 - mask) * centres + mask * centre[:, :, None, None]
    return F.cosine_similarity(feature, centres, dim=1, eps=NORM_EPS)


def _similarity_by_products(feature: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """The same from centres (B, K + 1, C), without a map of them; the last one collects pixels without a class."""
    classes = torch.where((labels >= 0) & (labels < num_classes), labels, num_classes).flatten(1)[:, None]
    one_hot = feature.new_zeros(len(classes), num_classes + 1, classes.shape[2]).scatter_(1, classes, 1.0)
    pixels = feature.flatten(2)
    shares = one_hot / (one_hot.sum(2, keepdim=True) + COUNT_EPS)  # sums might exceed float16's range
    centres = in_loss_precision(torch.bmm(shares, pixels.mT))
    centres = centres / torch.linalg.vector_norm(centres, dim=2, keepdim=True).clamp(min=NORM_EPS)
    of_all = in_loss_precision(torch.bmm(centres, pixels))  # (B, K + 1, N)
    lengths = torch.linalg.vector_norm(pixels, dim=1).clamp(min=NORM_EPS)
    return (of_all.gather(1, classes)[:, 0] / lengths).view(labels.shape)
