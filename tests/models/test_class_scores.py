"""Class scores of pixels from queries and masks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from isoclock.models.class_scores import FLOOR, query_logits, query_scores

CLASSES, QUERIES = 4, 6


def answers(seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Class logits (2, Q, K + 1) and mask logits (2, Q, 3, 5)."""
    generator = torch.Generator().manual_seed(seed)
    classes = torch.randn(2, QUERIES, CLASSES + 1, generator=generator, dtype=dtype)
    return 3 * classes, 4 * torch.randn(2, QUERIES, 3, 5, generator=generator, dtype=dtype)


def test_scores_are_the_sum_over_queries_of_class_and_mask() -> None:
    classes, masks = answers()
    scores = query_scores(classes, masks)
    for k in range(CLASSES):
        expected = torch.zeros(3, 5)
        for q in range(QUERIES):
            share = classes[1, q].exp() / classes[1, q].exp().sum()
            expected += share[k] / (1 + (-masks[1, q]).exp())
        torch.testing.assert_close(scores[1, k], expected)


def test_logits_are_log_probabilities_with_the_order_of_the_scores() -> None:
    classes, masks = answers()
    scores, logits = query_scores(classes, masks), query_logits(classes, masks)
    assert torch.equal(logits.argmax(1), scores.argmax(1))
    torch.testing.assert_close(logits.exp().sum(1), torch.ones(2, 3, 5))
    torch.testing.assert_close(logits.softmax(1), scores / scores.sum(1, keepdim=True), atol=4 * FLOOR, rtol=1e-5)


def test_what_no_query_claims_is_undecided_and_finite() -> None:
    classes, masks = answers()
    logits = query_logits(classes, torch.full_like(masks, -200.0).requires_grad_())
    torch.testing.assert_close(logits, torch.full_like(logits, -torch.tensor(CLASSES).log()))
    classes[..., -1] = 300.0  # every query is "no object"
    assert query_logits(classes, masks).isfinite().all()


def test_the_smallest_logit_is_bounded_and_its_gradient_is_finite() -> None:
    classes = torch.full((1, QUERIES, CLASSES + 1), -100.0)
    classes[..., 0] = 100.0
    masks = torch.full((1, QUERIES, 3, 5), 50.0, requires_grad=True)
    logits = query_logits(classes, masks)
    assert float(logits.detach().min()) >= torch.tensor(FLOOR / (QUERIES + 1)).log()
    logits.square().sum().backward()
    assert masks.grad is not None
    assert masks.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_short_types_and_autocast_give_float32(dtype: torch.dtype) -> None:
    classes, masks = (value.to(dtype) for value in answers())
    with torch.autocast("cpu", torch.bfloat16):
        logits = query_logits(classes, masks)
    assert logits.dtype == torch.float32
    assert torch.equal(logits, query_logits(classes.float(), masks.float()))
    assert query_logits(*answers(dtype=torch.float64)).dtype == torch.float64
