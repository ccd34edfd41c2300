"""Augmentation-free dense contrastive distillation (Af-DCD, Fan et al., NeurIPS 2023): rebuild, then contrast patches."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isoclock.errors import ParamsError
from isoclock.kernels.masking import masked_first_convolution, pixel_uniforms
from isoclock.kernels.precision import in_loss_precision
from isoclock.methods.card import TUNED
from isoclock.methods.contract import Batch, Draw, Method
from isoclock.models.outputs import SegmenterOutput

PATCH = 4


class AfDCD(Method):
    """Rebuild the teacher's feature from a masked one as MGD does, and contrast pieces of pixels within small patches.

    r = G(M * A f^S): A a 1x1 convolution with bias (absent where C_S = C_T), M a 0/1 map, G convolutions at C_T channels.
    feature = 1/B sum over b, c, h, w of (r - f^T)^2.
    contrast = 1/(B H W) sum over i of [log(e^{-d_ii/tau} + sum over j in N(i) of e^{-d_ij/tau}) + d_ii / tau]: r and f^T
    are max-pooled by `pool` to H x W and cut into patches of 4x4; each pixel's channels are cut into `groups` pieces, so
    that a patch has 16 * groups vectors of C_T / groups; d_ij is the L1 distance of the i-th of r to the j-th of f^T,
    and N(i) are the patch's vectors of any group but i's.

    `mask`: "random" as MGD's, "centre" (the middle third in both directions is out), or "none". `projector` G: "conv"
    (3x3, ReLU, 3x3), "enhanced" (two 3x3-ReLU in a row, each followed by a 3x3 of its own, their mean), or "none".

    Quirks of the published code: its Cityscapes script says `--rand_mask False`, which the parser refuses (it knows
    `--rand-mask`) and would read as true (`type=bool`), so "random" is used here; it accepts neither C_S = C_T nor pooled
    sides that 4 does not divide. Here a smaller map has smaller pools and patches, and the remainder at the right and
    bottom is left out.
    """

    title = "augmentation-free dense contrastive KD (Af-DCD)"
    source = "Fan et al. 2023 (NeurIPS); OSVAI/Af-DCD@5b086a7 losses/ocmgd.py"
    terms = ("feature", "contrast")
    published = {
        "feature": "weight 2e-6 (Cityscapes), 1e-6 (ADE20K), 8e-6 (CamVid), head tap (OSVAI/Af-DCD scripts)",
        "contrast": "weight 0.005 (Cityscapes), 0.04 (ADE20K), 0.01 (CamVid); together with KD 1 (ADE20K: 0.5)",
    }
    params = {
        "tap": {"type": "choice", "of": ("head", "backbone"), "default": "head"},
        "mask": {"type": "choice", "of": ("random", "centre", "none"), "default": "random"},
        "mask_ratio": {"type": "number", "at_least": 0, "below": 1, "default": 0.75},
        "projector": {"type": "choice", "of": ("conv", "enhanced", "none"), "default": "conv"},
        "temperature": {"type": "number", "above": 0, "default": 0.07},
        "groups": {"type": "integer", "at_least": 2, "default": 16},
        "pool": {"type": "integer", "at_least": 1, "default": 4},
    }
    implementations = ("reference", "tuned")
    reads = {"feature": ("{tap}",), "contrast": ("{tap}",)}
    cost = (
        "2 (plain) or 4 (enhanced) 3x3 convolutions at C_T, 9 B h w C_T^2 multiply-adds each, and 16 M C_T L1"
        " terms for each pooled pixel"
    )
    made_fast_by = (
        "alignment and mask are folded into the first 3x3 kernel; pairs that do not count get the logit -inf,"
        " instead of copies of positives and negatives"
    )

    def build(self) -> None:
        """The alignment and the projector G."""
        tap, groups = self.settings["tap"], self.settings["groups"]
        ours, theirs = self.student_channels.of(tap), self.teacher_channels.of(tap)
        if theirs % groups and "contrast" in self.active_terms:
            raise ParamsError(f"afdcd.groups: {groups!r}: must divide the teacher's {theirs} channels at {tap}")
        self.align = nn.Identity() if ours == theirs else nn.Conv2d(ours, theirs, 1)
        if self.settings["projector"] == "enhanced":
            self.projector: nn.Module = EnhancedProjector(theirs)
        elif self.settings["projector"] == "conv":
            self.projector = nn.Sequential(_conv(theirs), nn.ReLU(inplace=True), _conv(theirs))

    def draw(self, student: SegmenterOutput, batch: Batch) -> Draw:  # noqa: ARG002
        """{"mask_uniform": (B, 1, h, w) float32 in [0, 1)}: a pixel is masked where it exceeds 1 - mask_ratio."""
        if self.settings["mask"] != "random":
            return {}
        feature = student.features[self.settings["tap"]]
        return {"mask_uniform": pixel_uniforms(feature, self.generator(feature.device))}

    def compute(
        self,
        student: SegmenterOutput,
        teacher: SegmenterOutput,
        batch: Batch,  # noqa: ARG002
        draw: Draw,
    ) -> dict[str, Tensor]:
        """{"feature": scalar, "contrast": scalar}, as far as active."""
        ours, theirs = student.features[self.settings["tap"]], teacher.features[self.settings["tap"]]
        rebuilt = self._rebuilt(ours, self._kept(ours, draw))
        terms = {}
        if "feature" in self.active_terms:
            loss = F.mse_loss(in_loss_precision(rebuilt), in_loss_precision(theirs), reduction="sum")
            terms["feature"] = loss / len(theirs)
        if "contrast" in self.active_terms:
            pool, groups = self.settings["pool"], self.settings["groups"]
            vectors = patch_vectors(rebuilt, pool=pool, groups=groups)
            anchors = patch_vectors(theirs, pool=pool, groups=groups)
            contrast = _contrast_tuned if self.implementation == TUNED else _contrast
            pixels = vectors.shape[0] * vectors.shape[1] // groups  # B H W
            terms["contrast"] = contrast(vectors, anchors, groups, self.settings["temperature"]) / pixels
        return terms

    def _kept(self, feature: Tensor, draw: Draw) -> Tensor:
        """(B, 1, h, w) bool."""
        if self.settings["mask"] == "random":
            return draw["mask_uniform"] <= 1 - self.settings["mask_ratio"]
        height, width = feature.shape[-2:]
        kept = torch.ones(len(feature), 1, height, width, dtype=torch.bool, device=feature.device)
        if self.settings["mask"] == "centre":
            kept[:, :, height // 3 : 2 * height // 3, width // 3 : 2 * width // 3] = False
        return kept

    def _rebuilt(self, feature: Tensor, kept: Tensor) -> Tensor:
        if self.settings["projector"] != "none" and self.implementation == TUNED:
            return self._folded(feature, kept)
        aligned = self.align(feature)
        masked = aligned * kept.to(aligned.dtype)
        return masked if self.settings["projector"] == "none" else self.projector(masked)

    def _folded(self, feature: Tensor, kept: Tensor) -> Tensor:
        if isinstance(self.projector, EnhancedProjector):
            first = masked_first_convolution(self.align, self.projector.block_1[0], feature, kept)
            return self.projector.after_first_convolution(first)
        assert isinstance(self.projector, nn.Sequential)
        return self.projector[1:](masked_first_convolution(self.align, self.projector[0], feature, kept))


class EnhancedProjector(nn.Module):
    """x_1 = ReLU(conv(x)), x_2 = ReLU(conv(x_1)), (conv(x_1) + conv(x_2)) / 2; 3x3 convolutions, (B, C, h, w) to the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block_1 = nn.Sequential(_conv(channels), nn.ReLU(inplace=True))
        self.block_2 = nn.Sequential(_conv(channels), nn.ReLU(inplace=True))
        self.adaptor_1, self.adaptor_2 = _conv(channels), _conv(channels)

    def forward(self, feature: Tensor) -> Tensor:
        """(B, C, h, w) to the same."""
        return self.after_first_convolution(self.block_1[0](feature))

    def after_first_convolution(self, convolved: Tensor) -> Tensor:
        """What `forward` computes from the result of the first convolution, which it overwrites."""
        first = self.block_1[1](convolved)
        second = self.block_2(first)
        return (self.adaptor_1(first) + self.adaptor_2(second)) / 2


def _conv(channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, padding=1)


def patch_vectors(feature: Tensor, *, pool: int, groups: int) -> Tensor:
    """(B, C, h, w) -> (patches, pixels of a patch * groups, C / groups), groups innermost, in the losses' precision."""
    height, width = feature.shape[-2:]
    # Pooled in the feature's own precision: a maximum does not round.
    pooled = in_loss_precision(F.max_pool2d(feature, (min(pool, height), min(pool, width))))
    images, channels, height, width = pooled.shape
    tall, wide = min(PATCH, height), min(PATCH, width)
    cut = pooled[:, :, : height // tall * tall, : width // wide * wide]
    pieces = cut.reshape(images, groups, channels // groups, height // tall, tall, width // wide, wide)
    return pieces.permute(0, 3, 5, 4, 6, 1, 2).reshape(-1, tall * wide * groups, channels // groups)


def _contrast(vectors: Tensor, anchors: Tensor, groups: int, temperature: float) -> Tensor:
    """Sum of cross-entropies, with copies of positives and negatives selected by a mask for every patch."""
    patches, count = vectors.shape[:2]
    similarity = -torch.cdist(vectors, anchors, p=1)
    same = torch.eye(count, dtype=torch.bool, device=vectors.device).repeat(patches, 1, 1)
    group = torch.arange(count, device=vectors.device) % groups
    others = (group[None] != group[:, None]).repeat(patches, 1, 1)
    positives = similarity[same].view(patches * count, 1)
    negatives = similarity[others].view(patches * count, -1)
    logits = torch.cat([positives, negatives], dim=1) / temperature
    first = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
    return F.cross_entropy(logits, first, reduction="sum")


def _contrast_tuned(vectors: Tensor, anchors: Tensor, groups: int, temperature: float) -> Tensor:
    """The same without copies: pairs that do not count have the logit -inf, and a vector's positive is on the diagonal."""
    group = torch.arange(vectors.shape[1], device=vectors.device) % groups
    left_out = (group[None] == group[:, None]).fill_diagonal_(False)
    logits = (torch.cdist(vectors, anchors, p=1) / -temperature).masked_fill(left_out, -torch.inf)
    return -F.log_softmax(logits, dim=2).diagonal(dim1=1, dim2=2).sum()
