"""Contrastive representation distillation (Tian et al., ICLR 2020, arXiv 1910.10699): NCE against two memory banks."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from isoclock.errors import ParamsError
from isoclock.kernels.precision import in_loss_precision, product_dtype
from isoclock.methods.card import TUNED
from isoclock.methods.contract import Batch, Draw, Method
from isoclock.models.outputs import SegmenterOutput

EPSILON = 1e-7  # of the published NCE, added to the noise probability
LEAST_NORM = 1e-12


class CRD(Method):
    """crd = sum over both directions of -1/B sum over b of [log(P+ / (P+ + c)) + sum over k of log(m p / (P-_k + c))].

    v_i = unit vector of A g_i (A linear with bias to `embedding` numbers, g_i the feature's average over positions), of
    student and teacher. P = exp(v . m / `temperature`) / Z, m a row of the *other* network's bank: row i of the anchor's
    own sample is the positive, `negatives` rows drawn evenly and with replacement are the others (the positive may be
    among them, as published). p = 1 / n of n training samples, m = `negatives`, c = m p + 1e-7. Z is set on the first call, to n
    times the mean of exp(v . m / temperature), and constant from then on.

    Banks `memory_v1` (student) and `memory_v2` (teacher), (n, embedding): rows of the batch become the unit vectors of
    momentum row + (1 - momentum) v after scoring. They start evenly within +-sqrt(3 / embedding) and not normalised, as
    published. Both embeddings are trained. Cost as published: 2 B (negatives + 1) rows are gathered, 16,385 a sample.
    """

    title = "contrastive representation distillation"
    source = "Tian et al. 2020, arXiv 1910.10699; HobbitLong/RepDistiller@b84f547 crd/criterion.py, crd/memory.py"
    terms = ("crd",)
    published = {"crd": "weight 0.8, T 0.07, 16384 negatives (RepDistiller, CIFAR-100; no segmentation run is known)"}
    params = {
        "tap": {"type": "choice", "of": ("head", "backbone"), "default": "head"},
        "embedding": {"type": "integer", "at_least": 1, "default": 128},
        "negatives": {"type": "integer", "at_least": 1, "default": 16384},
        "temperature": {"type": "number", "above": 0, "default": 0.07},
        "momentum": {"type": "number", "at_least": 0, "below": 1, "default": 0.5},
    }
    implementations = ("reference", "tuned")
    reads = {"crd": ("{tap}",)}
    cost = "reference 2 B (negatives + 1) 128 gathered numbers, tuned 2 B n 128 multiplications; two banks of n x 128"
    made_fast_by = (
        "one B x n product with each bank and counts of the drawn rows in place of gathering 16,385 rows of 128"
        " numbers a sample, twice"
    )

    memory_v1: Tensor
    memory_v2: Tensor
    z_v1: Tensor
    z_v2: Tensor

    def build(self) -> None:
        """Embeddings and banks. Raises ParamsError if the number of training samples is not known."""
        if self.dataset_size < 1:
            raise ParamsError(
                f"crd.dataset_size: {self.dataset_size}: must be the number of training samples; its banks need it"
            )
        tap, width = self.settings["tap"], self.settings["embedding"]
        self.embed_student = nn.Linear(self.student_channels.of(tap), width)
        self.embed_teacher = nn.Linear(self.teacher_channels.of(tap), width)
        bound = math.sqrt(3 / width)
        for bank in ("memory_v1", "memory_v2"):
            self.register_buffer(bank, torch.empty(self.dataset_size, width).uniform_(-bound, bound))
        for constant in ("z_v1", "z_v2"):
            self.register_buffer(constant, torch.tensor(-1.0))  # not set yet

    def draw(self, student: SegmenterOutput, batch: Batch) -> Draw:
        """{"contrast_index": (B, negatives + 1) int64}: rows of the banks, the sample's own in column 0."""
        device = student.features[self.settings["tap"]].device
        shape = (len(batch.index), self.settings["negatives"] + 1)
        rows = torch.randint(self.dataset_size, shape, generator=self.generator(device), device=device)
        rows[:, 0] = batch.index
        return {"contrast_index": rows}

    def compute(
        self, student: SegmenterOutput, teacher: SegmenterOutput, batch: Batch, draw: Draw
    ) -> dict[str, Tensor]:
        """{"crd": scalar}; moves the banks while training."""
        tap = self.settings["tap"]
        ours = self._embedded(student.features[tap], self.embed_student)
        theirs = self._embedded(teacher.features[tap], self.embed_teacher)
        compared = self._by_counts if self.implementation == TUNED else self._by_rows
        divergence, z_v1, z_v2 = compared(ours, theirs, draw["contrast_index"])
        if self.training:
            with torch.no_grad():
                self.z_v1.copy_(z_v1)
                self.z_v2.copy_(z_v2)
                self._move(self.memory_v1, ours, batch.index)
                self._move(self.memory_v2, theirs, batch.index)
        return {"crd": divergence}

    def _embedded(self, feature: Tensor, embed: nn.Linear) -> Tensor:
        """Unit vectors (B, embedding) of a feature's averages over its positions."""
        vectors = embed(in_loss_precision(feature).mean((2, 3)))
        return F.normalize(in_loss_precision(vectors), dim=1, eps=LEAST_NORM)

    def _move(self, bank: Tensor, vectors: Tensor, index: Tensor) -> None:
        momentum = self.settings["momentum"]
        rows = momentum * bank[index] + (1 - momentum) * vectors
        bank.index_copy_(0, index, F.normalize(rows, dim=1, eps=LEAST_NORM))

    def _by_rows(self, ours: Tensor, theirs: Tensor, contrast: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As published: gathers a row of a bank for each negative, (B, negatives + 1, embedding) twice."""
        total, constants = ours.new_zeros(()), []
        for anchors, bank, constant in ((ours, self.memory_v2, self.z_v1), (theirs, self.memory_v1, self.z_v2)):
            rows = bank.index_select(0, contrast.flatten()).view(*contrast.shape, -1)
            products = in_loss_precision(torch.bmm(rows, anchors[:, :, None])[:, :, 0])
            scores = (products / self.settings["temperature"]).exp()
            z = torch.where(constant < 0, scores.detach().mean() * self.dataset_size, constant)
            total = total + self._nce(scores / z)
            constants.append(z)
        return total, constants[0], constants[1]

    def _nce(self, probabilities: Tensor) -> Tensor:
        positive, negative = probabilities[:, 0], probabilities[:, 1:]
        noise = negative.shape[1] / self.dataset_size
        found = (positive / (positive + (noise + EPSILON))).log()
        rejected = (torch.full_like(negative, noise) / (negative + (noise + EPSILON))).log()
        return -(found.sum() + rejected.sum()) / len(probabilities)

    def _by_counts(self, ours: Tensor, theirs: Tensor, contrast: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same from all scores by one product, each weighted with how often its row was drawn."""
        counts = ours.new_zeros(len(contrast), self.dataset_size)
        counts.scatter_add_(1, contrast[:, 1:], counts.new_ones(()).expand(len(contrast), contrast.shape[1] - 1))
        divergence, z_v1, z_v2 = _CountedNCE.apply(
            torch.stack((ours, theirs)),
            torch.stack((self.memory_v2, self.memory_v1)),
            torch.stack((self.z_v1, self.z_v2)),
            counts,
            contrast[:, :1],
            self.settings["temperature"],
            product_dtype(ours),
        )
        return divergence, z_v1, z_v2


class _CountedNCE(torch.autograd.Function):
    """Both directions of the NCE from anchors (2, B, d), banks (2, n, d) and how often (B, n) each row was drawn.

    In logarithms: log P / (P + c) = -softplus(log c - log P), so that nothing overflows. The gradient is taken here,
    because the banks move before the backward pass. Products have the type `dtype`. Returns the loss and the constants Z
    of both directions.
    """

    @staticmethod
    def forward(
        ctx: Any,
        anchors: Tensor,
        banks: Tensor,
        constants: Tensor,
        counts: Tensor,
        own: Tensor,
        temperature: float,
        dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor, Tensor]:
        images, samples = counts.shape
        rows = banks.to(dtype)
        negatives = counts.sum() / images
        noise = negatives / samples
        scores = in_loss_precision(torch.bmm(anchors.to(dtype), rows.mT)).div_(temperature)  # (2, B, n)
        own = own.expand(2, -1, -1)
        positive = scores.gather(2, own)
        drawn = (scores.exp().mul_(counts).sum((1, 2)) + positive.exp().sum((1, 2))) / (images * (negatives + 1))
        z = torch.where(constants < 0, drawn * samples, constants)
        odds = z.log() + (noise + EPSILON).log()
        positive = positive - odds[:, None, None]
        scores.sub_(odds[:, None, None])
        slack = (noise / (noise + EPSILON)).log() * negatives * 2 * images
        loss = _softplus(-positive).sum() + _softplus(scores).mul_(counts).sum() - slack
        slopes = scores.sigmoid_().mul_(counts).scatter_add_(2, own, positive.sigmoid() - 1)
        gradient = in_loss_precision(torch.bmm(slopes.to(dtype), rows))
        ctx.save_for_backward(gradient.div_(temperature * images))
        return loss / images, z[0], z[1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, loss: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.saved_tensors[0] * loss, None, None, None, None, None, None


def _softplus(values: Tensor) -> Tensor:
    """log(1 + exp(x)). Torch's takes x for it from 20 on, which is 2e-9 off: too much for float64."""
    return F.softplus(values, threshold=40)
