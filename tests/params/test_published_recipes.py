"""The recipes of mmsegmentation and CIRKD: complete, and each of their published values is on the page that quotes the sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from isoclock.data.loading.colour import build_colour
from isoclock.params.check import load_params
from isoclock.params.load import Params

ROOT = Path(__file__).parents[2]
SECTIONS = {"mmseg": "## mmsegmentation", "cirkd": "## CIRKD"}
NAMES = {"colour": "Normalize"}  # what the page calls a key, if it is not the key


@pytest.fixture(scope="module")
def params() -> Params:
    return load_params(ROOT / "params")


@pytest.mark.parametrize("source", SECTIONS)
@pytest.mark.parametrize("dataset", ["cityscapes", "ade20k"])
def test_the_page_has_every_published_value(params: Params, dataset: str, source: str) -> None:
    page = (ROOT / "docs/papers.md").read_text(encoding="utf-8")
    section = page[page.index(SECTIONS[source]) :].partition("\n## ")[0]
    for role in ("teacher", "student"):
        recipe = params.recipes[f"{dataset}.{source}", role]
        given = recipe.model_dump(exclude={"provenance"}, exclude_unset=True)
        published = [key for key in given if recipe.provenance.get(key, recipe.provenance["*"]).startswith("published")]
        assert len(published) >= 14
        assert [key for key in published if NAMES.get(key, f"`{key}`") not in section] == []


def test_mmsegmentation_is_the_default(params: Params) -> None:
    city, ade = (params.recipe(dataset, "student") for dataset in ("cityscapes", "ade20k"))
    for recipe in (city, ade):
        assert (recipe.cat_max_ratio, recipe.padding, recipe.cross_entropy_over) == (0.75, "end", "all")
        assert [entry["transform"] for entry in recipe.colour] == ["PhotoMetricDistortion", "Normalize"]
    assert (ade.short_side, ade.long_side_at_most, city.short_side) == (512, 2048, None)
    assert params.recipe("cityscapes-extra", "student").colour == city.colour


def test_cirkd_subtracts_a_mean_and_draws_one_of_16_scales(params: Params) -> None:
    recipe = params.recipes["cityscapes.cirkd", "student"]
    colour = build_colour(recipe.colour)
    assert colour.shift.tolist() == pytest.approx([122.67891434, 116.66876762, 104.00698793])
    assert colour.factor.tolist() == [1.0, 1.0, 1.0]
    assert (recipe.scale_step, recipe.batch, recipe.lr, recipe.min_lr) == (0.1, 16, 0.02, 0.0)
    assert (params.recipes["cityscapes.cirkd", "teacher"].batch, params.recipes["ade20k.cirkd", "teacher"].batch) == (
        8,
        16,
    )
