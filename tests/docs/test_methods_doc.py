"""docs/methods.md is what its generator makes of the methods' files, params/ and the figures that are kept."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from isoclock.methods import REFERENCE, TUNED, cards
from isoclock.params.check import load_params

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_build_methods", ROOT / "docs" / "build_methods.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def row(**changes: Any) -> dict[str, Any]:
    """A row as `make bench-methods` writes it."""
    samples = {"median": 0.02, "q25": 0.02, "q75": 0.02, "n": 2, "samples": [0.02, 0.02]}
    return {
        "method": "mgd",
        "setting": "",
        "changed": {},
        "classes": 19,
        "depends_on_classes": True,
        "batch": 2,
        "grid": [64, 128],
        "threads": 2,
        "channels_last": False,
        "times_s": {REFERENCE: samples, TUNED: {**samples, "median": 0.01}},
        "ratio": {"median": 2.0, "low": 1.9, "high": 2.1},
        "wins_or_ties": True,
        "memory_mib": {REFERENCE: 30.0, TUNED: 10.0},
        "share": {REFERENCE: 0.02, TUNED: 0.01},
        **changes,
    }


def bench(*rows: dict[str, Any], kind: str = "cpu:one", tiny: bool = False) -> dict[str, Any]:
    channels = {"head": 128, "backbone": 512}
    found = {
        "machine": {"cpu_cores": 2, "versions": {"torch": "2"}},
        "channels": {"student": channels, "teacher": channels},
        "step": {
            "pair": "r101-r18",
            "crop": [512, 1024],
            "batch": 2,
            "student_s": 10.0,
            "teacher_s": {"backbone": 9.0, "head": 12.0, "aux": 13.0},
        },
        "rows": {str(number): one for number, one in enumerate(rows)},
    }
    return {"schema": 1, "tiny": tiny, "devices": {kind: found}}


def test_the_page_is_up_to_date(build: ModuleType) -> None:
    assert build.PAGE.read_text() == build.page(build.read_figures()), "run `make docs`"


def test_every_method_has_a_card(build: ModuleType) -> None:
    page = build.page(None)
    for name, card in cards().items():
        assert (f"\n## {name}\n" in page) == bool(card.terms)
        assert all(f"`{term}`" in page for term in card.terms)
        assert card.about_tuned() in page


def test_what_was_not_measured_is_said(build: ModuleType) -> None:
    assert "neither on a CPU nor on a GPU" in build.page(None)
    assert "GPU: unmeasured" in build.page(bench(row()))
    assert "unmeasured" not in build.page(bench(row(), kind="cuda:one"))


def test_rows_stand_in_the_table_and_at_their_method(build: ModuleType) -> None:
    slower = row(classes=150, ratio={"median": 0.9, "low": 0.8, "high": 0.95}, wins_or_ties=False)
    near = row(classes=20, ratio={"median": 1.0, "low": 0.99, "high": 1.02})
    page = build.page(bench(row(), near, slower))
    assert "Of 3 rows, `tuned` wins in 1, ties in 1, loses in 1." in page
    assert page.count("| 20 ms | 10 ms | 2x | 1.9 .. 2.1 | wins | 30 / 10 | 3x | 2 / 1 % | 1 % |") == 2
    assert page.count("| 0.8 .. 0.95 | loses |") == 2


def test_a_gain_of_less_than_a_hundredth_of_a_step_is_named(build: ModuleType) -> None:
    small = row(share={REFERENCE: 0.012, TUNED: 0.004})
    assert "less than 1 % of a step in every row: `mgd`." in build.page(bench(small))
    assert "| 1.2 / 0.4 % | less than 1 % of a step |" in build.page(bench(small))
    assert "in every row: none." in build.page(bench(small, row(classes=150, share={REFERENCE: 0.1, TUNED: 0.01})))


def test_rows_of_a_method_with_one_implementation_are_left_out(build: ModuleType) -> None:
    kept = build.figures_of(bench(row(), row(method="kd")))
    assert [found["method"] for found in kept["devices"]["cpu:one"]["rows"].values()] == ["mgd"]


def test_figures_are_kept_without_samples_and_never_tiny_ones(build: ModuleType) -> None:
    kept = build.figures_of(bench(row()))
    (found,) = kept["devices"]["cpu:one"]["rows"].values()
    assert "samples" not in str(found)
    assert found["times_s"][TUNED]["median"] == 0.01
    with pytest.raises(ValueError, match="tiny"):
        build.figures_of(bench(row(), tiny=True))


def test_published_scores_are_written_once(build: ModuleType) -> None:
    """params/published.yaml has them; the page shows each row of a method, and no method's file repeats a score."""
    page, params = build.page(None), load_params(ROOT / "params")
    sources = {path: path.read_text() for path in (ROOT / "src" / "isoclock" / "methods").rglob("*.py")}
    for row in params.published.values():
        if row.method_name is not None:
            assert f"| {row.student} | {row.undistilled or ''} | {row.miou} | {row.teacher} |" in page
        if row.miou is not None:
            assert [path for path, text in sources.items() if f"{row.miou:g}" in re.findall(r"\d+\.\d+", text)] == []


def test_lines_of_the_page_are_short(build: ModuleType) -> None:
    assert [line for line in build.page(build.read_figures()).splitlines() if len(line) > 100 and line[0] != "|"] == []
