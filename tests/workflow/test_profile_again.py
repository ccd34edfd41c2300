"""A deliberate re-profile (fault 8), and profiles that a study refuses (fault 9), through real Snakemake and DVC."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from clone import Clone

from tiny_study import edit

pytestmark = [pytest.mark.xdist_group("workflow"), pytest.mark.timeout(900)]

KD = Path("results/profile/streets/tiny/kd.json")
PLANS = Path("results/plan/streets/tiny")
AGAIN = ("--forcerun", str(KD), "--allowed-rules", "profile", "--", str(KD))
NOTHING = "Nothing to be done"


def set_ratios(study: Clone, *ratios: float) -> None:
    (study.folder / "ratios").write_text(" ".join(str(ratio) for ratio in ratios))


def plans(study: Clone) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted((study.folder / PLANS).rglob("*.json"))}


def test_a_profile_measured_again_within_two_per_cent_moves_nothing(studied: Clone) -> None:
    before, accepted, planned = studied.students(), (studied.folder / KD).read_bytes(), plans(studied)
    assert json.loads(accepted)["cost"]["ratio"] == pytest.approx(2.0)
    log = studied.folder / "runs/logs/profile/streets/tiny/kd.log"
    set_ratios(studied, 2.0 * 1.019)
    assert "rule profile:" in studied.snakemake(*AGAIN)
    assert "kd: 2.000 anchor-steps" in log.read_text(), "the accepted one, not the one measured"
    assert (studied.folder / KD).read_bytes() == accepted
    assert NOTHING in studied.snakemake("all")
    assert plans(studied) == planned
    assert studied.retrained(before) == set()

    set_ratios(studied, 2.0 * 1.03)  # and beyond two per cent it counts, for this method's cells only
    studied.snakemake(*AGAIN)
    studied.snakemake("all")
    assert studied.retrained(before) == {"kd"}
    moved = {path for path, content in plans(studied).items() if content != planned[path]}
    assert moved == {str(studied.folder / PLANS / "kd/compute-6.json")}, "the accepted budget stays"


@pytest.mark.parametrize(
    ("key", "marked"),
    [
        ("half_width: 1000.0", r"marked noisy \(the cost is known to \d+\.\d%, \d+% of a step waits for data\)"),
        pytest.param(
            "max_data_share: 1.0",
            r"marked input-bound \(the cost is known to \d+\.\d%, \d+% of a step waits for data\)",
            marks=pytest.mark.test_all,
        ),
    ],
)
def test_a_marked_profile_is_refused_in_a_study(studied: Clone, key: str, marked: str) -> None:
    name, limit = key.split(": ")
    edit(studied.folder / "params/budgets.yaml", f"{name}: {limit}", f"{name}: 1.0e-4")
    edit(studied.folder / "params/grids/demo.yaml", "study: false", "study: true")
    set_ratios(studied, 2.0, 3.0, 4.0)  # not within two per cent of the accepted one, which would stay
    before = studied.students()
    output = studied.snakemake("--retries", "0", "--config", "method=kd", "--", "students", status=1)
    assert re.search(rf"isoclock: {KD}: {marked}, and a study needs a clean profile; measure again", output), output
    assert f"isoclock profile streets tiny {KD.stem}" in output
    assert "rule student:" not in output
    assert studied.students() == before
