"""Decoupled knowledge distillation (Zhao et al., CVPR 2022, arXiv 2203.08679), pixel by pixel."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from isoclock.kernels.divergence_sum import DivergenceSum, shares
from isoclock.kernels.labels import IGNORE, labels_on_grid
from isoclock.kernels.softmax_blocks import LOG2_E, Layout, Workspace, largest, loss_dtype, powers_to_shares_, scaled
from isoclock.methods.contract import Batch, Draw, Method, in_loss_precision
from isoclock.models.outputs import SegmenterOutput

PUBLISHED_OFFSET = 1000.0
FAR_BELOW = -1e30


class DKD(Method):
    """Plain KD, taken apart into a pixel's label y and the other K - 1 classes.

    tckd = T^2 / N sum over pixels of KL((p_y^T, 1 - p_y^T) || (p_y^S, 1 - p_y^S)), p = softmax of logits / T,
    nckd = T^2 / N sum over pixels of KL(r^T || r^S), r = softmax of logits / T over the classes but y.

    KL(p^T || p^S) = tckd + (1 - p_y^T) nckd for a pixel: the second weighted as if the teacher were never sure. N are the
    labelled pixels of the batch on the logits' grid; without any both terms are 0. The published code leaves the label's
    class out by subtracting 1000 from its scaled logit; `reference` does so too.
    """

    title = "decoupled KD"
    source = (
        "Zhao et al. 2022, arXiv 2203.08679; open-mmlab/mmrazor@90c7af1 mmrazor/models/losses/decoupled_kd.py"
        " (of image-level logits; taken pixel by pixel here)"
    )
    terms = ("tckd", "nckd")
    published = {"tckd": "alpha 1, T 4 (mmrazor, CIFAR-100)", "nckd": "beta 8, T 4 (mmrazor, CIFAR-100)"}
    params = {"temperature": {"type": "number", "above": 0, "default": 4.0}}
    implementations = ("reference", "tuned")
    reads = {"tckd": ("logits",), "nckd": ("logits",)}
    equation = (
        "tckd = T^2 / N sum of KL((p_y, 1 - p_y)^T || ^S), nckd = T^2 / N sum of KL(r^T || r^S), r = softmax over"
        " the classes but the label's; over labelled pixels"
    )
    cost = (
        "2 B K h w exponentials, two maps of gradients; as published three softmaxes, and masks as large as the logits"
    )
    made_fast_by = (
        "one sweep for both terms in the layout as it lies: one softmax over the other classes serves both, the"
        " label's share is a logistic function; labels by gather and scatter and a 0/1 weight instead of picked"
        " rows and masks"
    )

    def compute(
        self,
        student: SegmenterOutput,
        teacher: SegmenterOutput,
        batch: Batch,
        draw: Draw,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """{"tckd": scalar, "nckd": scalar}, as far as active."""
        assert student.logits is not None
        assert teacher.logits is not None
        temperature = self.settings["temperature"]
        if self.implementation == "tuned":
            wanted = ["tckd" in self.active_terms, "nckd" in self.active_terms]
            both = target_and_rest(student.logits, teacher.logits, batch, Asked(temperature, True, *wanted))
            values = dict(zip(self.terms, both, strict=True))
            return {term: value * temperature**2 for term, value in values.items() if term in self.active_terms}
        student_rows, teacher_rows, label = labelled_rows(student.logits, teacher.logits, batch)
        student_rows, teacher_rows = student_rows / temperature, teacher_rows / temperature
        is_label = F.one_hot(label, student_rows.shape[1]).bool()
        scale = temperature**2 / max(1, len(label))
        terms = {}
        if "tckd" in self.active_terms:
            ours, theirs = _target_or_not(student_rows, is_label), _target_or_not(teacher_rows, is_label)
            terms["tckd"] = F.kl_div(ours, theirs, reduction="sum", log_target=True) * scale
        if "nckd" in self.active_terms:
            ours = F.log_softmax(student_rows - PUBLISHED_OFFSET * is_label, dim=1)
            theirs = F.softmax(teacher_rows - PUBLISHED_OFFSET * is_label, dim=1)
            terms["nckd"] = F.kl_div(ours, theirs, reduction="sum") * scale
        return terms


def labelled_rows(student: Tensor, teacher: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """(student logits (n, K), teacher logits (n, K), labels (n,)) of the n pixels that have a label."""
    labels = labels_on_grid(batch.target, (student.shape[-2], student.shape[-1]))
    kept = labels != IGNORE
    rows = [in_loss_precision(logits).permute(0, 2, 3, 1)[kept] for logits in (student, teacher)]
    return rows[0], rows[1], labels[kept]


def _target_or_not(rows: Tensor, is_label: Tensor) -> Tensor:
    """(n, 2): log p_y and log(1 - p_y). The published code takes the log of sums of a softmax, which may underflow."""
    log_shares = F.log_softmax(rows, dim=1)
    target = log_shares.masked_fill(~is_label, -torch.inf).logsumexp(dim=1, keepdim=True)
    others = log_shares.masked_fill(is_label, -torch.inf).logsumexp(dim=1, keepdim=True)
    return torch.cat([target, others], dim=1)


class Asked(NamedTuple):
    """What `target_and_rest` shall make: KL divergences as in `DKD`, or cross entropies as in `NKD`; which of the two."""

    temperature: float
    divergence: bool
    target_term: bool
    rest_term: bool


def target_and_rest(student: Tensor, teacher: Tensor, batch: Batch, asked: Asked) -> tuple[Tensor, Tensor]:
    """(term of the label's class, term of the other classes), means over labelled pixels; 0 if not asked for."""
    labels = labels_on_grid(batch.target, (student.shape[-2], student.shape[-1]))
    labelled = labels != IGNORE
    of_target, of_rest = _TargetAndRest.apply(student, teacher, labels * labelled, labelled, asked)
    pixels = labelled.sum().clamp(min=1)
    return of_target / pixels, of_rest / pixels


class _TargetAndRest(torch.autograd.Function):
    """Sums over labelled pixels; the gradients are made beside them and handed out at the first backward.

    Of the classes but the label's only the softmax r is needed: p_y is a logistic function of the label's logit less the
    others' log-sum-exp, so that the target term's gradient is r times one number a pixel, and minus it at the label.
    """

    @staticmethod
    def forward(
        ctx: Any, student: Tensor, teacher: Tensor, labels: Tensor, labelled: Tensor, asked: Asked
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(student)
        ctx.given = (teacher, labels, labelled, asked)
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
    student: Tensor, teacher: Tensor, labels: Tensor, labelled: Tensor, asked: Asked
) -> tuple[Tensor, Tensor, tuple[Tensor | None, ...]]:
    """(target term, rest term, T times the gradient of each in the student's layout)."""
    gradients = tuple(torch.empty_like(student) if wanted else None for wanted in (asked.target_term, asked.rest_term))
    layout = Layout(next(gradient for gradient in gradients if gradient is not None), 1)
    ours, theirs = layout.view(student), layout.view(teacher)
    places = [None if gradient is None else layout.view(gradient) for gradient in gradients]
    label_rows, weight_rows = layout.view_rows(labels), layout.view_rows(labelled.to(loss_dtype(student)))
    workspace = Workspace(layout, student, 4)
    kind = _Divergences if asked.divergence else _CrossEntropies
    of_target, of_rest = kind(student), kind(student)
    with torch.autocast(student.device.type, enabled=False):
        for block in layout.blocks():
            buffers = workspace.take(ours[block].shape)
            rows = (block[0], slice(None), *block[2:])
            label, weight = label_rows[rows], weight_rows[rows]
            part = _Part(ours[block], theirs[block], label, weight, asked.temperature, buffers)
            if places[0] is not None:
                step = of_target.add_target_(part)
                places[0][block] = torch.mul(part.both[0], step, out=part.spare).scatter_(1, label, -step)
            if places[1] is not None:
                of_rest.add_rest_(part, places[1][block])
    return of_target.value(), of_rest.value(), gradients


class _Part:
    """A block's softmaxes over all classes but the label's, student's and teacher's: `both`. All else is to base 2."""

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
