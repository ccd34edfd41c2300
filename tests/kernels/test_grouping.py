import torch

from isoclock.kernels.grouping import mean_over_groups


def pairs(maps: torch.Tensor) -> torch.Tensor:
    """A term that relates images: the mean product of all ordered pairs."""
    return (maps @ maps.T).mean()


def test_it_is_the_mean_of_the_devices() -> None:
    maps = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)).double()
    devices = torch.stack([pairs(maps[start : start + 2]) for start in (0, 2, 4)])
    torch.testing.assert_close(mean_over_groups(pairs, 2, maps), devices.mean())


def test_every_image_counts_alike_where_the_last_group_is_smaller() -> None:
    maps = torch.tensor([[1.0], [1.0], [3.0]]).double()
    torch.testing.assert_close(mean_over_groups(lambda group: group.mean(), 2, maps), maps.mean())


def test_one_group_is_one_call_with_the_maps_themselves() -> None:
    maps, calls = torch.ones(4, 2), []
    for size in (0, 4, 64):
        mean_over_groups(lambda *group: calls.append(group) or group[0].sum(), size, maps, maps)
    assert len(calls) == 3
    assert all(group[0] is maps and group[1] is maps for group in calls)


def test_several_terms_at_once_and_gradients() -> None:
    maps = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    both = mean_over_groups(lambda group: torch.stack([pairs(group), group.sum()]), 2, maps)
    assert both.shape == (2,)
    both[1].backward()
    torch.testing.assert_close(maps.grad, torch.full_like(maps, 0.5))
