from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from isoclock.data.loading.colour import build_colour
from isoclock.errors import ParamsError

NORMALISE = {"transform": "Normalize", "mean": [0.3, 0.4, 0.5], "std": [0.2, 0.25, 0.3]}
IMAGE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


def test_transforms_are_a_function_of_seed_and_number() -> None:
    listed = [{"transform": "ColorJitter", "p": 1.0}, {"transform": "albumentations.GaussNoise", "p": 0.5}, NORMALISE]
    first, second = build_colour(listed), build_colour(listed)
    forwards = [first.augment(IMAGE, 5, number) for number in range(8)]
    backwards = [second.augment(IMAGE, 5, number) for number in reversed(range(8))][::-1]
    for one, other in zip(forwards, backwards, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len({one.tobytes() for one in forwards}) == 8
    assert first.augment(IMAGE, 6, 0).tobytes() != forwards[0].tobytes()


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        ([], "must end in Normalize"),
        ([NORMALISE, {"transform": "ColorJitter"}], "must end in Normalize"),
        ([{**NORMALISE, "mean": [0.5]}], "mean must be three numbers"),
        ([{**NORMALISE, "sdt": 1}], "no argument 'sdt'"),
        ([{"transform": "Colourise"}, NORMALISE], "unknown transform 'Colourise'"),
        ([{"transform": "nowhere.at.All"}, NORMALISE], "unknown transform 'nowhere.at.All'"),
        ([{"transform": "HorizontalFlip"}, NORMALISE], "moves pixels"),
        ([{**NORMALISE, "mean": ["a", 0, 0]}], "mean must be three numbers"),
        ([{**NORMALISE, "mean": [float("nan"), 0, 0]}], "mean must be three numbers"),
        ([{**NORMALISE, "std": [0.1, 0.0, 0.1]}], "std must be above 0"),
        ([{**NORMALISE, "max_pixel_value": 0}], "max_pixel_value must be a number above 0"),
        ([{}, NORMALISE], r"colour\[0\]: has no transform"),
        ([{"transform": "ColorJitter", "brigthness": 0.3}, NORMALISE], "ColorJitter has no argument 'brigthness'"),
        ([{"transform": "GaussNoise", "var_limit": [10, 50]}, NORMALISE], "GaussNoise has no argument 'var_limit'"),
        ([{"transform": "ColorJitter", "p": 3}, NORMALISE], "ColorJitter does not accept"),
        ([{"transform": "ToFloat"}, NORMALISE], r"ToFloat makes float32 .* of uint8 .*; must keep shape and type"),
        ([{"transform": "ToFloat", "p": 0.01}, NORMALISE], "ToFloat makes float32"),
        ([{"transform": "ToGray", "num_output_channels": 1}, NORMALISE], "must keep shape and type"),
        ([{"transform": "Compose", "transforms": []}, NORMALISE], "is no ImageOnlyTransform"),
        ([{"transform": "os.getcwd"}, NORMALISE], "is no ImageOnlyTransform"),
        ([{"transform": "os.path"}, NORMALISE], "does not accept"),
        ([{"transform": "ColorJitter", "brightness": "very"}, NORMALISE], "ColorJitter does not accept"),
    ],
)
def test_invalid_transforms_are_reported(listed: list[dict], words: str) -> None:
    with pytest.raises(ParamsError, match=words):
        build_colour(listed)


def test_all_invalid_entries_are_reported_together() -> None:
    with pytest.raises(ParamsError) as caught:
        build_colour([{"transform": "Nothing"}, {"transform": "VerticalFlip"}, {**NORMALISE, "std": 1}])
    assert len(caught.value.problems) == 3


def test_a_list_of_normalise_alone_imports_no_albumentations() -> None:
    code = (
        "import sys; from isoclock.data.loading.colour import build_colour; build_colour([{'transform': 'Normalize'}]);"
        "sys.exit('albumentations' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
