"""Masked distillation with receptive tokens (Huang et al., ICLR 2023, arXiv 2205.14589): distillation in learned regions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isoclock.kernels.precision import in_loss_precision, product_dtype
from isoclock.kernels.projector import build_projector
from isoclock.labels import IGNORE
from isoclock.methods.card import TUNED
from isoclock.methods.contract import Batch, Draw, Method, detached
from isoclock.models.outputs import AUX_LOGITS, LOGITS, SegmenterOutput

MASS_EPS, DICE_EPS = 1e-5, 1e-12


class MasKD(Method):
    """maskd = 1 / (2 B T C) sum over b, t, c of (sum over p of m_tp^2 (x^S_cp - x^T_cp)^2) / (sum over p of m_tp + 1e-5).

    m_t = sigmoid(token_t . x^T_p), T tokens (T, C); x (B, C, h, w) are the logits, as published for segmentation, or a
    feature, the student's through a trainable 1x1 projector. `maskd_aux` is the same on the auxiliary logits: with the
    same tokens, as published, or with tokens of its own (T, K) where the tap is a feature.

    The tokens are trained before the student and frozen then: SGD with momentum 0.9, weight decay 1e-3, a rate that
    falls with power 0.9. Their loss is the mean Dice coefficient of two different masks, and the cross-entropy of the
    teacher's logits z sum_t m_t, upsampled to the labels. At a feature tap there is no task loss; ours is
    then the share of the map that the masks fail to keep, sum of (sum_t m_t - 1)^2 |x|^2 over sum of |x|^2. The
    published pre-training ran the teacher's batch norms in training mode; ours runs the teacher as it teaches.
    """

    title = "masked distillation with receptive tokens"
    source = (
        "Huang et al. 2023, arXiv 2205.14589; hunto/MasKD@b5af34f segmentation/losses/maskd.py, train_maskd.py,"
        " train_mask_module.py"
    )
    terms = ("maskd", "maskd_aux")
    published = {
        "maskd": "weight 1, logits, 8 tokens pre-trained for 10000 iterations of batch 16 (hunto/MasKD, Cityscapes)",
        "maskd_aux": "weight 0.4 (hunto/MasKD, Cityscapes)",
    }
    params = {
        "tap": {"type": "choice", "of": ("logit", "head", "backbone"), "default": "logit"},
        "projector": {"type": "choice", "of": ("conv", "conv-bias", "conv-bn", "conv-bn-relu"), "default": "conv"},
        "tokens": {"type": "integer", "at_least": 1, "default": 8},
        "pretrain_iterations": {"type": "integer", "at_least": 1, "default": 10000},
        "pretrain_lr": {"type": "number", "above": 0, "default": 0.1},
    }
    implementations = ("reference", "tuned")
    reads = {
        "maskd": ("{tap}",),
        "maskd_aux": (
            "aux_logits",
            "logits",
        ),
    }
    cost = (
        "T copies of B C h w elements several times over as published; as tuned one pass, and B T C h w"
        " multiplications for the masks; and the pre-training of the tokens, a teacher's forward pass for each step"
    )
    made_fast_by = (
        "the T masks become one weight for each position, sum_t m_t^2 / mass_t: one weighted squared error instead"
        " of T copies of both maps"
    )

    def build(self) -> None:
        """Tokens with their optimiser, and the projector of a feature tap."""
        tap, tokens = self.settings["tap"], self.settings["tokens"]
        self.pretrained = nn.Module()
        if tap == "logit":
            self.pretrained.mask_tokens = _tokens(tokens, self.num_classes)
        else:
            if "maskd" in self.active_terms:
                theirs = self.teacher_channels.of(tap)
                self.pretrained.mask_tokens = _tokens(tokens, theirs)
                self.projector = build_projector(self.settings["projector"], self.student_channels.of(tap), theirs)
            if "maskd_aux" in self.active_terms:
                self.pretrained.aux_mask_tokens = _tokens(tokens, self.num_classes)
        self.optimisers["tokens"] = torch.optim.SGD(
            self.pretrained.parameters(), lr=self.settings["pretrain_lr"], momentum=0.9, weight_decay=1e-3
        )

    def needs(self) -> frozenset[str]:
        """The chosen tap for `maskd`, auxiliary logits for `maskd_aux`."""
        tap = {self._tap} if "maskd" in self.active_terms else set()
        return frozenset(tap | ({AUX_LOGITS} if "maskd_aux" in self.active_terms else set()))

    def compute(
        self,
        student: SegmenterOutput,
        teacher: SegmenterOutput,
        batch: Batch,  # noqa: ARG002
        draw: Draw,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """{"maskd": scalar, "maskd_aux": scalar}, as far as active."""
        terms = {}
        if "maskd" in self.active_terms:
            projector = getattr(self, "projector", None)
            terms["maskd"] = self._error(student, teacher, self._tap, "mask_tokens", projector)
        if "maskd_aux" in self.active_terms:
            terms["maskd_aux"] = self._error(student, teacher, AUX_LOGITS, self._aux_tokens, None)
        return terms

    @property
    def _tap(self) -> str:
        return LOGITS if self.settings["tap"] == "logit" else str(self.settings["tap"])

    @property
    def _aux_tokens(self) -> str:
        return "mask_tokens" if self._tap == LOGITS else "aux_mask_tokens"

    def _error(
        self, student: SegmenterOutput, teacher: SegmenterOutput, name: str, tokens: str, projector: nn.Module | None
    ) -> Tensor:
        assert self.pretrained is not None
        ours, theirs = student.get(name), teacher.get(name)
        assert ours is not None
        assert theirs is not None
        masks = _masks(self.pretrained.get_parameter(tokens).detach(), theirs)
        ours = ours if projector is None else projector(ours)
        return (_error if self.implementation == TUNED else _published_error)(ours, theirs, masks)

    @property
    def pretrain_iterations(self) -> int:
        """The parameter `pretrain_iterations`, or 0 if there is no token to train."""
        return int(self.settings["pretrain_iterations"]) if self.active_terms else 0

    @property
    def pretrain_needs(self) -> frozenset[str]:
        """The teacher's chosen tap; its logits where tokens of logits are trained."""
        if self.pretrained is None:
            return frozenset()
        feature = {self._tap} if hasattr(self.pretrained, "mask_tokens") else set()
        return frozenset(feature | ({LOGITS} if "maskd_aux" in self.active_terms else set()))

    def pretrain_step(self, teacher: SegmenterOutput, batch: Batch, *, lr_factor: float) -> dict[str, Tensor]:
        """{"mask_task": scalar, "mask_dice": scalar}, each summed over the kinds of tokens.

        In float32 under autocast too: the gradient of a mean over pixels is too small for float16 without a scaler.
        """
        assert self.pretrained is not None
        teacher, optimiser = detached(teacher), self.optimisers["tokens"]
        for group in optimiser.param_groups:
            group["lr"] = self.settings["pretrain_lr"] * lr_factor**0.9
        tokens = dict(self.pretrained.named_parameters())
        self.pretrained.requires_grad_(True)
        with torch.enable_grad(), torch.autocast(batch.target.device.type, enabled=False):
            found = [
                self._token_losses(token, teacher, batch, self._tap if name == "mask_tokens" else LOGITS)
                for name, token in tokens.items()
            ]
            task, dice = (torch.stack(losses).sum() for losses in zip(*found, strict=True))
            (task + dice).backward()
        optimiser.step()
        optimiser.zero_grad()
        self.pretrained.requires_grad_(False)
        return {"mask_task": task.detach(), "mask_dice": dice.detach()}

    def _token_losses(self, tokens: Tensor, teacher: SegmenterOutput, batch: Batch, name: str) -> tuple[Tensor, Tensor]:
        """(loss of the task, or share of the map that is lost; mean Dice coefficient)."""
        given = teacher.get(name)
        assert given is not None
        theirs = in_loss_precision(given)
        masks = _masks(tokens, theirs)
        tuned = self.implementation == TUNED
        if name != LOGITS:
            energy = theirs.square().sum(1)
            task = ((masks.sum(1) - 1).square() * energy).sum() / energy.sum().clamp(min=MASS_EPS)
        else:
            masked = theirs * masks.sum(1, keepdim=True) if tuned else (theirs[:, None] * masks[:, :, None]).sum(1)
            task = _cross_entropy(masked, batch.target)
        return task, _dice(masks.flatten(2))


def _tokens(count: int, channels: int) -> nn.Parameter:
    """Nearly equal masks at first; only the pre-training changes them."""
    return nn.Parameter(0.01 * torch.randn(count, channels), requires_grad=False)


def _masks(tokens: Tensor, teacher: Tensor) -> Tensor:
    """m (B, T, h, w), in loss precision."""
    dtype = product_dtype(teacher)
    products = tokens.to(dtype).expand(len(teacher), -1, -1) @ teacher.flatten(2).to(dtype)
    return in_loss_precision(products).sigmoid().unflatten(2, teacher.shape[2:])


def _published_error(student: Tensor, teacher: Tensor, masks: Tensor) -> Tensor:
    """The term as published: both maps are repeated for each mask, (B, T, C, h, w)."""
    ours = in_loss_precision(student)[:, None] * masks[:, :, None]
    theirs = in_loss_precision(teacher)[:, None] * masks[:, :, None]
    squares = (ours - theirs).square().sum((3, 4)) / (masks.sum((2, 3))[:, :, None] + MASS_EPS)
    return 0.5 * squares.mean()


def _error(student: Tensor, teacher: Tensor, masks: Tensor) -> Tensor:
    """The same with one weight for each position, the sum over t of m_t^2 / mass of m_t."""
    mass = masks.sum((2, 3), keepdim=True) + MASS_EPS
    weights = (masks.square() / mass).sum(1, keepdim=True)
    squares = weights * (in_loss_precision(student) - in_loss_precision(teacher)).square()
    return 0.5 * squares.sum() / (len(masks) * masks.shape[1] * teacher.shape[1])


def _cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over labelled pixels at the labels' resolution; zero where there are none."""
    scores = F.interpolate(logits, target.shape[1:], mode="bilinear", align_corners=True)
    total = F.cross_entropy(scores, target.long(), ignore_index=IGNORE, reduction="sum")
    return total / (target != IGNORE).sum().clamp(min=1)


def _dice(masks: Tensor) -> Tensor:
    """Mean over images and pairs i != j of 2 m_i . m_j / (|m_i|^2 + |m_j|^2), masks (B, T, N); zero for one mask."""
    one, other = masks[:, None], masks[:, :, None]
    overlap = 2 * (one * other).sum(-1)
    sizes = (one * one).sum(-1) + (other * other).sum(-1) + 2 * DICE_EPS
    count = masks.shape[1]
    others = 1 - torch.eye(count, dtype=masks.dtype, device=masks.device)
    return (overlap / sizes * others).sum() / max(1, len(masks) * count * (count - 1))
