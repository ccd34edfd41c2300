"""DIST (Huang et al., NeurIPS 2022, arXiv 2205.10536): match correlations of predictions, not the predictions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from isoclock.kernels.precision import in_loss_precision, loss_dtype
from isoclock.kernels.softmax_blocks import BlockLayout, Workspace, softmax_into
from isoclock.methods.contract import Batch, Draw, Method
from isoclock.models.outputs import AUX_LOGITS, LOGITS, SegmenterOutput

EPSILON = 1e-8


class DIST(Method):
    """inter = 1 - mean over pixels of rho along classes, intra = 1 - mean over classes of rho along pixels.

    rho is the Pearson correlation of rows or columns of y^S and y^T, y = softmax of the logits as a matrix of M = B h w
    pixels x K classes; 1e-8 is added to the product of norms. All M pixels of the batch of one process count together,
    so that intra depends on the images per device. `aux_inter` and `aux_intra` are the same of the auxiliary logits, and
    make the teacher run its auxiliary head.
    """

    title = "DIST"
    source = "Huang et al. 2022, arXiv 2205.10536; hunto/DIST_KD@2418f18 segmentation/losses/dist_kd.py, train_kd.py"
    terms = ("inter", "intra", "aux_inter", "aux_intra")
    published = {
        "inter": "weight 1 (hunto/DIST_KD, Cityscapes)",
        "intra": "weight 1 (hunto/DIST_KD, Cityscapes)",
        "aux_inter": "weight 0.4 (hunto/DIST_KD, Cityscapes)",
        "aux_intra": "weight 0.4 (hunto/DIST_KD, Cityscapes)",
    }
    implementations = ("reference", "tuned")
    reads = {"inter": ("logits",), "intra": ("logits",), "aux_inter": ("aux_logits",), "aux_intra": ("aux_logits",)}
    cost = (
        "2 B K h w exponentials and a dozen passes over both maps, twice with auxiliary logits, for which the"
        " teacher runs its auxiliary head (19.4 GMAC a crop of 512x1024)"
    )
    made_fast_by = (
        "softmaxes once, in the layout as it is; sums of products by blocks (centred, in two passes); both"
        " gradients in one sweep, written over the kept softmax; no transposed matrices, no centred copies"
    )

    def compute(
        self,
        student: SegmenterOutput,
        teacher: SegmenterOutput,
        batch: Batch,  # noqa: ARG002
        draw: Draw,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """{"inter": scalar, "intra": scalar, "aux_inter": scalar, "aux_intra": scalar}, as far as active."""
        terms: dict[str, Tensor] = {}
        for output, prefix in ((LOGITS, ""), (AUX_LOGITS, "aux_")):
            inter, intra = f"{prefix}inter" in self.active_terms, f"{prefix}intra" in self.active_terms
            if not (inter or intra):
                continue
            ours, theirs = student.get(output), teacher.get(output)
            assert ours is not None
            assert theirs is not None
            tuned = self.implementation == "tuned"
            values = _Correlations.apply(ours, theirs, inter, intra) if tuned else _published(ours, theirs)
            terms |= {f"{prefix}inter": values[0]} if inter else {}
            terms |= {f"{prefix}intra": values[1]} if intra else {}
        return terms


def _published(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both terms, by copies: a row for each pixel, centred, its norm; then the same of the transposed matrix."""
    ours, theirs = (
        in_loss_precision(logits).transpose(1, 3).reshape(-1, logits.shape[1]).softmax(dim=1)
        for logits in (student, teacher)
    )
    return 1 - _correlation(ours, theirs).mean(), 1 - _correlation(ours.T, theirs.T).mean()


def _correlation(first: Tensor, second: Tensor) -> Tensor:
    """Pearson correlation of each row of two matrices."""
    first, second = first - first.mean(dim=1, keepdim=True), second - second.mean(dim=1, keepdim=True)
    return (first * second).sum(dim=1) / (first.norm(dim=1) * second.norm(dim=1) + EPSILON)


class _Correlations(torch.autograd.Function):
    """Both terms of one pair of maps. Two softmaxes are saved; the first backward overwrites one of them with the gradient.

    A second backward computes everything again. For either term the gradient with respect to y is a x - b z, x and z the
    centred shares and a, b a number for each pixel or class: one sweep for both, whose softmax derivative is applied once.
    """

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, inter: bool, intra: bool) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(student)
        ctx.given = (teacher, inter, intra)
        kept = _sweep(student, *ctx.given)
        ctx.kept = kept if ctx.needs_input_grad[0] else None
        none = kept.means.new_zeros(2)
        of_pixels = none[0] if kept.by_pixel is None else kept.by_pixel.value
        return of_pixels, none[1] if kept.by_class is None else kept.by_class.value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_inter: Tensor, of_intra: Tensor) -> tuple[Tensor | None, ...]:
        (student,) = ctx.saved_tensors
        kept = _sweep(student, *ctx.given) if ctx.kept is None else ctx.kept
        ctx.kept = None
        return _gradient(student, kept, of_inter, of_intra), None, None, None


class _Slopes:
    """The mean of 1 - rho over some correlations, and the factors of both centred shares in its derivative."""

    def __init__(self, squares: Tensor, teacher_squares: Tensor, products: Tensor, differences: Tensor) -> None:
        """Sums over centred shares x, z of x^2, z^2, x z and (x - z)^2, one for each correlation."""
        norm, teacher_norm = squares.sqrt(), teacher_squares.sqrt()
        both = norm * teacher_norm
        # If rho is near 1, its precision is in |x| |z| - x z = (|x - z|^2 - (|x| - |z|)^2) / 2.
        gap = torch.where(differences < both, (differences - (norm - teacher_norm).square()) / 2, both - products)
        self.value = ((gap + EPSILON) / (both + EPSILON)).mean()
        self.teacher = 1 / ((both + EPSILON) * both.numel())
        self.student = torch.where(norm > 0, self.teacher * products * teacher_norm / (norm * (both + EPSILON)), 0.0)


class _Kept(NamedTuple):
    """Softmaxes of both networks and class means of both, in the layout; slopes of the terms that are wanted."""

    shares: Tensor
    teacher_shares: Tensor
    means: Tensor
    by_pixel: _Slopes | None
    by_class: _Slopes | None


def _sweep(student: Tensor, teacher: Tensor, inter: bool, intra: bool) -> _Kept:
    dtype, classes = loss_dtype(student), student.shape[1]
    shares, teacher_shares = torch.empty_like(student, dtype=dtype), torch.empty_like(student, dtype=dtype)
    layout = BlockLayout(shares, 1)
    ours, theirs, q_map, p_map = (layout.view(each) for each in (student, teacher, shares, teacher_shares))
    workspace = Workspace(layout, shares, 3)
    pixel_sums = shares.new_empty(4, *layout.view_rows(shares[:, 0]).shape)
    class_sums = shares.new_zeros(4, 1, classes, *[1] * (q_map.dim() - 2))
    means = torch.zeros_like(class_sums[:2])
    with torch.autocast(student.device.type, enabled=False):
        for block in layout.blocks():
            buffers = workspace.take(ours[block].shape)
            both, rows = buffers[:2], (block[0], slice(None), *block[2:])
            softmax_into(ours[block], theirs[block], both)
            q_map[block], p_map[block] = both
            if intra:
                means += _over_pixels(both)
            if inter:  # shares of a pixel have the mean 1 / K
                for sums, products in _products_(both.sub_(1 / classes), buffers[2:]):
                    pixel_sums[(sums, *rows)] = products.sum(2, keepdim=True)
        means /= shares.numel() // classes
        for block in layout.blocks() if intra else ():
            buffers = workspace.take(ours[block].shape)
            both = buffers[:2]
            torch.sub(q_map[block], means[0], out=both[0])
            torch.sub(p_map[block], means[1], out=both[1])
            for sums, products in _products_(both, buffers[2:]):
                class_sums[sums] += _over_pixels(products)
    by_pixel, by_class = _Slopes(*pixel_sums) if inter else None, _Slopes(*class_sums) if intra else None
    return _Kept(shares, teacher_shares, means, by_pixel, by_class)


def _over_pixels(blocks: Tensor) -> Tensor:
    """Sum over all axes except 0 and 2, the classes; all axes except 0 are kept."""
    return blocks.sum([axis for axis in range(1, blocks.dim()) if axis != 2], keepdim=True)


def _products_(both: Tensor, spare: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Of x and z, in turn in the same memory: (their places, products) of x^2 and z^2, x z, (x - z)^2."""
    yield slice(2, 3), torch.mul(both[:1], both[1:], out=spare)
    difference = torch.sub(both[:1], both[1:], out=spare)
    yield slice(3, 4), difference.mul_(difference)
    yield slice(0, 2), both.mul_(both)


def _gradient(like: Tensor, kept: _Kept, of_inter: Tensor, of_intra: Tensor) -> Tensor:
    """The gradient for the student's logits; it overwrites the student's shares if the dtypes are the same."""
    layout = BlockLayout(kept.shares, 1)
    q_map, p_map = layout.view(kept.shares), layout.view(kept.teacher_shares)
    workspace = Workspace(layout, kept.shares, 3)
    ours, theirs, constant = [], [], torch.zeros_like(kept.means[0])
    if kept.by_pixel is not None:
        ours.append(kept.by_pixel.student * of_inter)
        theirs.append(kept.by_pixel.teacher * of_inter)
    if kept.by_class is not None:
        ours.append(kept.by_class.student * of_intra)
        theirs.append(kept.by_class.teacher * of_intra)
        constant = theirs[-1] * kept.means[1] - ours[-1] * kept.means[0]
    for block in layout.blocks():
        q, p = q_map[block], p_map[block]
        slope, factor, spare = workspace.take(q.shape).unbind()
        torch.mul(q, _factor(ours, block, factor), out=slope)  # a constant for each pixel has no effect
        slope.addcmul_(p, _factor(theirs, block, factor), value=-1).add_(constant)
        expected = torch.mul(slope, q, out=spare).sum(1, keepdim=True)
        q.mul_(slope.sub_(expected))
    return kept.shares.to(like.dtype)


def _factor(factors: list[Tensor], block: tuple[slice, ...], out: Tensor) -> Tensor:
    """The sum of the factors of each pixel and each class, for a block."""
    rows = (block[0], slice(None), *block[2:])
    parts = [factor if factor.shape[0] == 1 and factor.shape[1] > 1 else factor[rows] for factor in factors]
    return parts[0] if len(parts) == 1 else torch.add(*parts, out=out)
