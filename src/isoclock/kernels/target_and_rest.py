"""Distillation of a pixel's label and of the other classes apart: value and gradients of both in one sweep."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from isoclock.kernels.divergence_sum import DivergenceSum, shares
from isoclock.kernels.labels import labels_on_grid
from isoclock.kernels.precision import in_loss_precision, loss_dtype
from isoclock.kernels.softmax_blocks import LOG2_E, BlockLayout, Workspace, largest, powers_to_shares_, scaled
from isoclock.labels import IGNORE

FAR_BELOW = -1e30


def labelled_rows(student: Tensor, teacher: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(student logits (n, K), teacher logits (n, K), labels (n,)) of the n labelled pixels of `target` (B, H, W)."""
    labels = labels_on_grid(target, (student.shape[-2], student.shape[-1]))
    kept = labels != IGNORE
    rows = [in_loss_precision(logits).permute(0, 2, 3, 1)[kept] for logits in (student, teacher)]
    return rows[0], rows[1], labels[kept]


class TermSpec(NamedTuple):
    """What `target_and_rest` computes: KL divergences (as DKD) or cross entropies (as NKD), and which of the two terms."""

    temperature: float
    divergence: bool
    target_term: bool
    rest_term: bool


def target_and_rest(student: Tensor, teacher: Tensor, target: Tensor, spec: TermSpec) -> tuple[Tensor, Tensor]:
    """(term of the label's class, term of the other classes), means over labelled pixels; 0 for a term that is not selected."""
    labels = labels_on_grid(target, (student.shape[-2], student.shape[-1]))
    labelled = labels != IGNORE
    of_target, of_rest = _TargetAndRest.apply(student, teacher, labels * labelled, labelled, spec)
    pixels = labelled.sum().clamp(min=1)
    return of_target / pixels, of_rest / pixels


class _TargetAndRest(torch.autograd.Function):
    """Sums over labelled pixels; the gradients are computed in the same sweep and returned by the first backward.

    Of the classes except the label's, only the softmax r is needed: p_y is a logistic function of the label's logit less the
    others' log-sum-exp, so that the target term's gradient is r times one number a pixel, and minus it at the label.
    """

    @staticmethod
    def forward(
        ctx: Any, student: Tensor, teacher: Tensor, labels: Tensor, labelled: Tensor, spec: TermSpec
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(student)
        ctx.given = (teacher, labels, labelled, spec)
        of_target, of_rest, ctx.gradients = _sweep(student, *ctx.given)
        return of_target, of_rest

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        gradients = ctx.gradients
        if gradients is None:  # a second backward
            (student,) = ctx.saved_tensors
            gradients = _sweep(student, *ctx.given)[2]
        ctx.gradients = None
        scales = [(factor / ctx.given[3].temperature).to(ctx.saved_tensors[0].dtype) for factor in upstream]
        made = [(gradient, scale) for gradient, scale in zip(gradients, scales, strict=True) if gradient is not None]
        total = made[0][0].mul_(made[0][1])
        for gradient, scale in made[1:]:
            total.addcmul_(gradient, scale)
        return total, None, None, None, None


def _sweep(
    student: Tensor, teacher: Tensor, labels: Tensor, labelled: Tensor, spec: TermSpec
) -> tuple[Tensor, Tensor, tuple[Tensor | None, ...]]:
    """(target term, rest term, T times the gradient of each in the student's layout)."""
    gradients = tuple(torch.empty_like(student) if wanted else None for wanted in (spec.target_term, spec.rest_term))
    layout = BlockLayout(next(gradient for gradient in gradients if gradient is not None), 1)
    ours, theirs = layout.view(student), layout.view(teacher)
    places = [None if gradient is None else layout.view(gradient) for gradient in gradients]
    label_rows, weight_rows = layout.view_rows(labels), layout.view_rows(labelled.to(loss_dtype(student)))
    workspace = Workspace(layout, student, 4)
    kind = _Divergences if spec.divergence else _CrossEntropies
    of_target, of_rest = kind(student), kind(student)
    with torch.autocast(student.device.type, enabled=False):
        for block in layout.blocks():
            buffers = workspace.take(ours[block].shape)
            rows = (block[0], slice(None), *block[2:])
            label, weight = label_rows[rows], weight_rows[rows]
            part = _Part(ours[block], theirs[block], label, weight, spec.temperature, buffers)
            if places[0] is not None:
                step = of_target.add_target_(part)
                places[0][block] = torch.mul(part.both[0], step, out=part.spare).scatter_(1, label, -step)
            if places[1] is not None:
                of_rest.add_rest_(part, places[1][block])
    return of_target.value(), of_rest.value(), gradients


class _Part:
    """A block's softmaxes over all classes but the label's, student's and teacher's: `both`. Everything else is to base 2."""

    def __init__(
        self, student: Tensor, teacher: Tensor, label: Tensor, weight: Tensor, temperature: float, buffers: Tensor
    ) -> None:
        self.student, self.teacher, self.label, self.weight = student, teacher, label, weight
        self.factor = LOG2_E / temperature
        self.both, self.exponents, self.spare = buffers[:2], buffers[2], buffers[3]
        scaled(student, self.factor, self.both[0])
        scaled(teacher, self.factor, self.both[1])
        index = label.expand(2, *label.shape)
        self.target = self.both.gather(2, index)
        self.both.scatter_(2, index, FAR_BELOW)
        self.highest = largest(self.both, 2)
        self.exponents.copy_(self.both.sub_(self.highest)[0])
        self.total = powers_to_shares_(self.both)

    def target_or_not(self) -> Tensor:
        """(2, outer, 2, ...): the label's exponent and the log of the others' sum, less what is in both networks."""
        origin = self.highest[1]
        return torch.cat([self.target - origin, self.total.log2().add_(self.highest - origin)], dim=2)


class _Divergences(DivergenceSum):
    """KL divergences, teacher to student."""

    def add_target_(self, part: _Part) -> Tensor:
        """Label or not: two classes, whose exponents to base 2 are logits of temperature log2(e)."""
        ours, theirs = part.target_or_not()
        both, ratio = torch.empty_like(part.target).repeat_interleave(2, dim=2), torch.empty_like(ours)
        unit = shares(ours, theirs, LOG2_E, both, ratio)
        self.add_(both.mul_(part.weight), ratio, unit)
        return both[0][:, 1:]

    def add_rest_(self, part: _Part, difference: Tensor) -> None:
        """The classes but the label; overwrites the shares."""
        ratio = torch.sub(part.student.to(part.spare.dtype), part.teacher, out=part.spare)
        gap = (part.total[0] / part.total[1]).log2_().add_(part.highest[0] - part.highest[1])
        ratio.sub_(gap.div_(part.factor)).scatter_(1, part.label, 0.0)
        self.add_(part.both.mul_(part.weight), ratio, part.factor / LOG2_E, difference=difference)


class _CrossEntropies:
    """Cross entropies of the student under the teacher."""

    def __init__(self, like: Tensor) -> None:
        self._sum = torch.zeros((), dtype=loss_dtype(like), device=like.device)

    def add_target_(self, part: _Part) -> Tensor:
        """-p_y^T log p_y^S: the first as a logistic function, the second as the log of one."""
        odds, teacher_odds = part.target_or_not().diff(dim=2).div_(-LOG2_E)
        expected = torch.sigmoid(teacher_odds).mul_(part.weight)
        self._sum.sub_((expected * F.logsigmoid(odds)).sum())
        return expected.mul_(torch.sigmoid(-odds))

    def add_rest_(self, part: _Part, difference: Tensor) -> None:
        """log r = exponent - log of the powers' sum, and the teacher's shares sum to 1; overwrites the shares."""
        offset = part.total[0].log2().mul_(part.weight).sum()
        part.both.mul_(part.weight)
        expected = torch.dot(part.both[1].view(-1), part.exponents.view(-1))
        self._sum.add_(offset.sub_(expected).div_(LOG2_E))
        difference.copy_(part.both[0].sub_(part.both[1]))

    def value(self) -> Tensor:
        """The sum."""
        return self._sum
