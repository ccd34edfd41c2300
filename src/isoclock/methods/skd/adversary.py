"""The holistic term of SKD, and the losses and optimiser of its discriminator."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from isoclock.kernels.precision import in_loss_precision

ADAM_BETAS = (0.9, 0.99)
SGD_MOMENTUM = 0.9


def build_optimiser(adversary: nn.Module, kind: str, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """ "adam" as in IFVD and CIRKD, "sgd" as in SKD's own code."""
    if kind == "sgd":
        return torch.optim.SGD(adversary.parameters(), lr=lr, momentum=SGD_MOMENTUM, weight_decay=weight_decay)
    # If not fused, it would read its step count on the host.
    return torch.optim.Adam(adversary.parameters(), lr=lr, betas=ADAM_BETAS, weight_decay=weight_decay, fused=True)


def generator_loss(adversary: nn.Module, student: Tensor) -> Tensor:
    """- mean D(student logits), which the student minimises.

    The discriminator keeps no gradient of it: the backward pass computes that of every weight and discards it, as the
    published loops do.
    """
    weights = {name: parameter.detach().requires_grad_() for name, parameter in adversary.named_parameters()}
    return -in_loss_precision(functional_call(adversary, weights, (in_loss_precision(student),))).mean()


def student_loss(adversary: nn.Module, student: Tensor, kind: str) -> Tensor:
    """The discriminator's loss on student logits: mean relu(1 + D) ("hinge") or mean D ("wgan-gp")."""
    scores = in_loss_precision(adversary(in_loss_precision(student)))
    return (1 + scores).relu().mean() if kind == "hinge" else scores.mean()


def teacher_loss(adversary: nn.Module, teacher: Tensor, kind: str) -> Tensor:
    """The discriminator's loss on teacher logits: mean relu(1 - D) ("hinge") or - mean D ("wgan-gp")."""
    scores = in_loss_precision(adversary(in_loss_precision(teacher)))
    return (1 - scores).relu().mean() if kind == "hinge" else -scores.mean()


def gradient_penalty(adversary: nn.Module, student: Tensor, teacher: Tensor, alpha: Tensor, weight: float) -> Tensor:
    """weight / B sum over b of (|d sum D(x) / d x_b| - 1)^2, x = alpha teacher + (1 - alpha) student, alpha (B, 1, 1, 1)."""
    student, teacher = in_loss_precision(student.detach()), in_loss_precision(teacher.detach())
    alpha = alpha.to(student.dtype)
    between = (alpha * teacher + (1 - alpha) * student).requires_grad_()
    # A view: FLOP counters hook what a module is given, and a leaf cannot be hooked below `autograd.grad`.
    scores = in_loss_precision(adversary(between.view_as(between)))
    with torch.autocast(between.device.type, enabled=False):
        (slope,) = torch.autograd.grad(scores.sum(), between, create_graph=True)
        return weight * (torch.linalg.vector_norm(slope.flatten(1), dim=1) - 1).square().mean()
