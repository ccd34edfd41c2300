"""Structured knowledge distillation (Liu et al., CVPR 2019, arXiv 1903.04197): pixels, pairs of nodes, a discriminator."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from isoclock.kernels.rows import pixel_rows
from isoclock.methods.card import TUNED
from isoclock.methods.contract import Batch, Draw, Method
from isoclock.methods.skd.adversary import build_optimiser, generator_loss, gradient_penalty, student_loss, teacher_loss
from isoclock.methods.skd.discriminator import Discriminator
from isoclock.methods.skd.pairwise import pair_term, pair_term_by_strips
from isoclock.models.outputs import SegmenterOutput


class SKD(Method):
    """pixel = -1/(h w) sum over b, pixels, c of p^T log p^S, pair = 1/(B N^2) sum over b, i, j of (S^T_ij - S^S_ij)^2,
    holistic = -mean D(z^S).

    pixel: cross-entropy of class distributions, *summed* over the batch: B times the mean, as published; the teacher's
    entropy is not subtracted. pair: S_ij is the cosine of nodes i and j of the tap, N nodes by max-pooling (ceil mode).
    Two definitions share the name: `nodes: official` pools windows of half the map, so N = 4, divides by the norm +
    1e-8 and passes no gradient through that norm; `nodes: port` (CIRKD) pools 2x2, so N = h w / 4 and S has N^2 entries,
    and does. holistic: D is a discriminator of logits, trained together with the student (`adversary_step`) to
    distinguish the two networks, by the hinge loss or by the Wasserstein loss with gradient penalty; `skd.discriminator`
    describes its layers and its behaviour on small maps. No term reads labels.

    D's own loss is `adversary_weight` times (its loss + the penalty, `gradient_penalty` included). Every forward pass of
    D updates its power iterations and batch statistics; order of the passes of one step: student for the student's loss,
    then, detached, student, teacher, the mixture (the original SKD code takes the teacher before the student).

    Niemann et al. 2023 (arXiv 2309.03659) report that SKD's gain vanishes once hyper-parameters are tuned.
    """

    title = "structured knowledge distillation"
    source = (
        "Liu et al. 2019, arXiv 1903.04197; irfanICMLL/structure_knowledge_distillation@ce208e1 utils/criterion.py,"
        " networks/; winycg/CIRKD@2d8ad0f losses/skd.py, losses/adv.py, utils/sagan.py (port)"
    )
    terms = ("pixel", "pair", "holistic")
    published = {
        "pixel": "weight 10 (official script)",
        "pair": "weight 0.5, nodes official (official script; 1 by default, 10 in the journal text); 10, nodes port (CIRKD)",
        "holistic": "weight 0.1, wgan-gp (official script); 0.001, hinge (CIRKD); 0.001, wgan-gp (IFVD)",
    }
    params = {
        "tap": {"type": "choice", "of": ("head", "backbone"), "default": "head"},
        "nodes": {"type": "choice", "of": ("official", "port"), "default": "official"},
        "adversary": {"type": "choice", "of": ("hinge", "wgan-gp"), "default": "wgan-gp"},
        "adversary_weight": {"type": "number", "above": 0, "default": 0.1},
        "gradient_penalty": {"type": "number", "at_least": 0, "default": 10.0},
        "conv_dim": {"type": "integer", "at_least": 1, "default": 64},
        "optimiser": {"type": "choice", "of": ("sgd", "adam"), "default": "sgd"},
        "lr": {"type": "number", "above": 0, "default": 4e-4},
        "lr_schedule": {"type": "choice", "of": ("student", "constant"), "default": "student"},
        "weight_decay": {"type": "number", "at_least": 0, "default": 5e-4},
    }
    implementations = ("reference", "tuned")
    reads = {"pixel": ("logits",), "pair": ("{tap}",), "holistic": ("logits",)}
    cost = (
        "pair: official 2x2 nodes, reading the maps; port N = h w / 4 nodes, N^2 (C_S + C_T) and several N x N"
        " maps as published, half of that in the forward pass and no map as tuned; holistic: 3"
        " discriminator passes and 2 backward passes a step, WGAN-GP a fourth with a double backward"
    )
    made_fast_by = (
        "pair (port): no N x N map is kept: strips of the difference of both maps, above its diagonal only, with the"
        " gradient in the same pass. pixel, pair (official) and holistic: as published; nothing to gain"
    )

    def build(self) -> None:
        """The discriminator and its optimiser, if `holistic` is active."""
        if "holistic" in self.active_terms:
            settings = self.settings
            self.adversary = Discriminator(self.num_classes, settings["conv_dim"])
            self.optimisers["adversary"] = build_optimiser(
                self.adversary, settings["optimiser"], settings["lr"], settings["weight_decay"]
            )

    def compute(
        self,
        student: SegmenterOutput,
        teacher: SegmenterOutput,
        batch: Batch,  # noqa: ARG002
        draw: Draw,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """{"pixel": scalar, "pair": scalar, "holistic": scalar}, as far as active."""
        terms = {}
        if "pixel" in self.active_terms:
            assert student.logits is not None
            assert teacher.logits is not None
            terms["pixel"] = pixel_term(student.logits, teacher.logits)
        if "pair" in self.active_terms:
            ours, theirs = student.features[self.settings["tap"]], teacher.features[self.settings["tap"]]
            by_strips = self.implementation == TUNED and self.settings["nodes"] == "port"
            terms["pair"] = (pair_term_by_strips if by_strips else pair_term)(ours, theirs, self.settings["nodes"])
        if self.adversary is not None:
            assert student.logits is not None
            terms["holistic"] = generator_loss(self.adversary, student.logits)
        return terms

    def adversary_step(
        self,
        student: SegmenterOutput,
        teacher: SegmenterOutput,
        batch: Batch,  # noqa: ARG002
        *,
        lr_factor: float,
        draw: Draw | None = None,
    ) -> dict[str, Tensor]:
        """{"adversary": D's loss, "gradient_penalty": its penalty (wgan-gp)}, neither times `adversary_weight`.

        `draw` may give {"gp_alpha": (B, 1, 1, 1) in [0, 1)}.
        """
        if self.adversary is None:
            return {}
        assert student.logits is not None
        assert teacher.logits is not None
        ours, theirs = student.logits.detach(), teacher.logits.detach()
        kind, optimiser = self.settings["adversary"], self.optimisers["adversary"]
        optimiser.zero_grad(set_to_none=True)
        losses = {
            "adversary": student_loss(self.adversary, ours, kind) + teacher_loss(self.adversary, theirs, kind),
        }
        if kind == "wgan-gp":
            alpha = self._mixture(ours) if draw is None else draw["gp_alpha"]
            weight = self.settings["gradient_penalty"]
            losses["gradient_penalty"] = gradient_penalty(self.adversary, ours, theirs, alpha, weight)
        with torch.autocast(ours.device.type, enabled=False):
            (self.settings["adversary_weight"] * torch.stack(list(losses.values())).sum()).backward()
        for group in optimiser.param_groups:
            group["lr"] = self.settings["lr"] * (lr_factor if self.settings["lr_schedule"] == "student" else 1.0)
        optimiser.step()
        return {name: loss.detach() for name, loss in losses.items()}

    def _mixture(self, logits: Tensor) -> Tensor:
        device = logits.device
        return torch.rand((len(logits), 1, 1, 1), generator=self.generator(device), device=device)


def pixel_term(student: Tensor, teacher: Tensor) -> Tensor:
    """- 1 / (h w) sum over b, pixels, c of p^T log p^S for logits (B, K, h, w), as published: one row for each pixel."""
    entropy = -(F.softmax(pixel_rows(teacher), dim=1) * F.log_softmax(pixel_rows(student), dim=1)).sum()
    return entropy / (student.shape[2] * student.shape[3])
