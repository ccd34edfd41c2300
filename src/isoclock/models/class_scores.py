"""From queries and masks, which Mask2Former and MaskFormer give, to class scores of each pixel."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor

FLOOR = 1e-6
"""Added to the score of each class, so that a logarithm is finite and a class that no query supports keeps a gradient."""


def query_scores(classes: Tensor, masks: Tensor) -> Tensor:
    """s (B, K, h, w), at least 0: s_k(x) = sum over queries q of softmax(c_q)_k sigmoid(m_q(x)).

    `classes` (B, Q, K + 1) are the class logits c of the queries, the last one of "no object"; it takes part in the
    softmax and is left out of the sum. `masks` (B, Q, h, w) are the mask logits m. This is `semantic_inference` of the
    authors' code (facebookresearch/Mask2Former@161be51 mask2former/maskformer_model.py). The scores of a pixel do not add
    up to 1: several queries may claim it, or none.
    """
    probabilities = classes.softmax(dim=-1)[..., :-1]
    return torch.einsum("bqk,bqhw->bkhw", probabilities, masks.sigmoid())


def query_logits(classes: Tensor, masks: Tensor) -> Tensor:
    """z (B, K, h, w) = log of (s + FLOOR) / sum over k of (s_k + FLOOR), in float32 (or float64), never under autocast.

    Their softmax is the normalised scores, and their argmax is that of s; the sum of exp(z) over classes is 1. So what
    compares class distributions of pixels (KD, DKD, DIST) reads the network's own distribution, at temperature 1 as at
    others. The smallest value is about log FLOOR = -13.8.
    """
    # There is no autocast for the device "meta", on which operations are counted.
    with nullcontext() if classes.is_meta else torch.autocast(classes.device.type, enabled=False):
        at_least = torch.promote_types(classes.dtype, torch.float32)
        scores = query_scores(classes.to(at_least), masks.to(at_least)) + FLOOR
        return scores.log() - scores.sum(dim=1, keepdim=True).log()
