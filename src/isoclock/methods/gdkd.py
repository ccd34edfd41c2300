"""Generalised decoupled distillation (GDKD): plain KD, split at the teacher's top classes, pixel by pixel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from isoclock.errors import ParamsError
from isoclock.kernels.rows import labelled_rows, pixel_rows
from isoclock.methods.contract import Batch, Draw, Method
from isoclock.models.outputs import AUX_LOGITS, LOGITS, SegmenterOutput

PUBLISHED_OFFSET = 1000.0


class GDKD(Method):
    """Three divergences of p^T and p^S, the softmax of logits / T, at the `top` classes U that the teacher ranks first.

    high = T^2 / n sum over pixels of KL of (mass of U, mass of the rest),
    low_top = T^2 / n sum over pixels of KL of the distributions within U,
    low_other = T^2 / n sum over pixels of KL of the distributions within the rest.

    n are the pixels of the batch on the logits' grid, or with `mask_ignored` those that have a label (without any the
    terms are 0). Both masses are clamped to [eps, 1 - eps], eps of the dtype; a clamped mass of the student has no
    gradient. As published, the other set is left out by subtracting 1000 from its scaled logits. The aux_* terms are the
    same of the auxiliary logits, and make the teacher run its auxiliary head.
    """

    title = "generalised decoupled KD"
    source = "ZaberKo/seg-gdkd@8c3f0c8 losses/distiller/gdkd.py, train_kd.py"
    terms = ("high", "low_top", "low_other", "aux_high", "aux_low_top", "aux_low_other")
    published = {
        "high": "weight 1, top 3, T 1 (seg-gdkd, defaults)",
        "low_top": "weight 1 (seg-gdkd, defaults)",
        "low_other": "weight 2 (seg-gdkd, defaults)",
        "aux_high": "weight 0.4 (seg-gdkd)",
        "aux_low_top": "weight 0.4 (seg-gdkd)",
        "aux_low_other": "weight 0.8 (seg-gdkd)",
    }
    params = {
        "temperature": {"type": "number", "above": 0, "default": 1.0},
        "top": {"type": "integer", "at_least": 1, "default": 3},
        "mask_ignored": {"type": "flag", "default": False},
    }
    reads = {
        "high": ("logits",),
        "low_top": ("logits",),
        "low_other": ("logits",),
        "aux_high": ("aux_logits",),
        "aux_low_top": ("aux_logits",),
        "aux_low_other": ("aux_logits",),
    }
    cost = (
        "6 B K h w exponentials, and the largest of K logits of each pixel; twice with auxiliary logits, for which the"
        " teacher runs its auxiliary head (19.4 GMAC a crop of 512x1024)"
    )

    def build(self) -> None:
        """Raises ParamsError if `top` leaves no class for the rest."""
        if self.settings["top"] >= self.num_classes:
            raise ParamsError(
                f"gdkd.top: {self.settings['top']}: must be below the number of classes, {self.num_classes}"
            )

    def compute(
        self,
        student: SegmenterOutput,
        teacher: SegmenterOutput,
        batch: Batch,
        draw: Draw,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """A scalar for each active term."""
        terms: dict[str, Tensor] = {}
        for output, prefix in ((LOGITS, ""), (AUX_LOGITS, "aux_")):
            wanted = [term for term in ("high", "low_top", "low_other") if f"{prefix}{term}" in self.active_terms]
            if not wanted:
                continue
            ours, theirs = student.get(output), teacher.get(output)
            assert ours is not None
            assert theirs is not None
            if self.settings["mask_ignored"]:
                ours, theirs, _ = labelled_rows(ours, theirs, batch.target)
            else:
                ours, theirs = pixel_rows(ours), pixel_rows(theirs)
            terms |= {f"{prefix}{term}": value for term, value in self._divergences(ours, theirs, wanted).items()}
        return terms

    def _divergences(self, ours: Tensor, theirs: Tensor, wanted: list[str]) -> dict[str, Tensor]:
        """The `wanted` terms of logits (n, K)."""
        first = theirs.topk(self.settings["top"], dim=1, sorted=False).indices
        in_top = torch.zeros_like(theirs, dtype=torch.bool).scatter_(1, first, True)
        temperature = self.settings["temperature"]
        ours, theirs = ours / temperature, theirs / temperature
        scale = temperature**2 / max(1, len(ours))
        terms = {}
        if "high" in wanted:
            masses = (_masses(ours, in_top).log(), _masses(theirs, in_top))
            terms["high"] = F.kl_div(*masses, reduction="sum") * scale
        for term, others in (("low_top", ~in_top), ("low_other", in_top)):
            if term in wanted:
                of_student = F.log_softmax(ours - PUBLISHED_OFFSET * others, dim=1)
                of_teacher = F.log_softmax(theirs - PUBLISHED_OFFSET * others, dim=1)
                terms[term] = F.kl_div(of_student, of_teacher, reduction="sum", log_target=True) * scale
        return terms


def _masses(rows: Tensor, in_top: Tensor) -> Tensor:
    """(n, 2): the shares of the top classes and of the rest, clamped."""
    shares = F.softmax(rows, dim=1)
    masses = torch.cat([(shares * part).sum(dim=1, keepdim=True) for part in (in_top, ~in_top)], dim=1)
    eps = torch.finfo(masses.dtype).eps
    return masses.clamp(min=eps, max=1 - eps)
