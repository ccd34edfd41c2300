from __future__ import annotations

import torch

from isoclock.budget.memory import peak_mib

CPU = torch.device("cpu")
MIB = 1 << 18  # float32 values in a MiB


def test_a_known_peak() -> None:
    def step() -> None:
        first = torch.zeros(4 * MIB)
        second = first + 1  # 8 MiB alive
        del first
        third = second + 1  # 8 again
        del second, third
        torch.zeros(2 * MIB)

    assert peak_mib(step, CPU, []) == 8.0


def test_what_is_resident_counts() -> None:
    weights = torch.zeros(3 * MIB)

    def step() -> None:
        weights + 1

    assert peak_mib(step, CPU, [weights]) == 6.0
    assert peak_mib(lambda: None, CPU, [weights]) == 3.0


def test_views_and_writing_in_place_cost_nothing() -> None:
    weights = torch.zeros(3 * MIB)

    def step() -> None:
        weights.view(-1, 2).t()[0].add_(1)
        weights.mul_(2)

    assert peak_mib(step, CPU, [weights, weights.view(2, -1)]) == 3.0


def test_what_autograd_keeps_counts() -> None:
    weights = torch.zeros(MIB, requires_grad=True)

    def step() -> None:
        kept = weights.exp().exp().exp()  # each result is kept for backward: 3 MiB beside the weights
        del kept

    def forward_and_backward() -> None:
        loss = weights.exp().exp().exp().sum()
        loss.backward()
        weights.grad = None

    assert peak_mib(step, CPU, [weights]) == 4.0
    assert 5.0 <= peak_mib(forward_and_backward, CPU, [weights]) <= 6.01


def test_it_is_the_same_the_second_time() -> None:
    def step() -> None:
        torch.ones(MIB) + torch.ones(MIB)

    assert peak_mib(step, CPU, []) == peak_mib(step, CPU, []) == 3.0


def test_half_precision_is_half_of_it() -> None:
    assert peak_mib(lambda: torch.zeros(4 * MIB, dtype=torch.bfloat16), CPU, []) == 2.0
