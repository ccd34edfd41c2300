from __future__ import annotations

import numpy as np
import pytest
import torch

from isoclock.data.loading import normalise as normalise_module
from isoclock.data.loading.colour import build_colour
from isoclock.data.loading.normalise import Normalise
from isoclock.errors import ParamsError

NORMALISE = {"transform": "Normalize", "mean": [0.3, 0.4, 0.5], "std": [0.2, 0.25, 0.3]}
PIXELS = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 40, 50, 3), dtype=np.uint8)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("entry", [NORMALISE, {"transform": "albumentations.Normalize"}])
def test_bits_are_those_of_albumentations(entry: dict, memory_format: torch.memory_format) -> None:
    import albumentations

    expected = albumentations.Normalize(**{key: value for key, value in entry.items() if key != "transform"})
    made = Normalise.last_of([{"transform": "ColorJitter"}, entry])(PIXELS.contiguous(memory_format=memory_format))
    assert made.dtype == torch.float32
    assert made.is_contiguous(memory_format=memory_format)
    for pixels, found in zip(PIXELS, made, strict=True):
        image = pixels.permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(found.permute(1, 2, 0).numpy(), expected(image=image)["image"])


@pytest.mark.parametrize("at_once", [1, 600, 7 * 600, 1 << 20])
def test_bits_do_not_depend_on_the_chunk_size(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    expected = Normalise.last_of([NORMALISE])(PIXELS)
    monkeypatch.setattr(normalise_module, "_IN_CACHE", at_once)
    assert torch.equal(Normalise.last_of([NORMALISE])(PIXELS), expected)


def test_only_matching_memory_is_reused() -> None:
    normalise = Normalise.last_of([NORMALISE])
    first = normalise(PIXELS)
    kept = first.clone()
    assert normalise(PIXELS.flip(0), out=first) is first
    assert torch.equal(first.flip(0), kept)
    for unfit in (first[:1], first.contiguous()):
        assert normalise(PIXELS, out=unfit) is not unfit


def test_padding_normalises_to_zero() -> None:
    fill = torch.tensor(build_colour([NORMALISE]).fill, dtype=torch.uint8)
    assert Normalise.last_of([NORMALISE])(fill.view(1, 3, 1, 1)).abs().max() < 0.01


def test_a_list_must_end_in_normalize() -> None:
    with pytest.raises(ParamsError, match="must end in Normalize"):
        Normalise.last_of([NORMALISE, {"transform": "ColorJitter"}])
