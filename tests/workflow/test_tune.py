"""Tuning through real Snakemake: the sweep runs, is resumed, chooses, and the grid uses the choice."""

from __future__ import annotations

import csv
import re

import pytest
import yaml
from clone import Clone

from tiny_study import edit
from tuned_study import HELD_OUT, TUNE

pytestmark = [pytest.mark.xdist_group("workflow"), pytest.mark.timeout(900)]


@pytest.mark.slow
@pytest.mark.test_all
def test_a_grid_is_tuned_and_run(fresh: Clone) -> None:
    from isoclock.data.streets.make import make_streets

    grid = fresh.folder / "params/grids/demo.yaml"
    edit(grid, "[none, kd, fitnet]", "[none, kd]")
    grid.write_text(f"{grid.read_text()}weights: tuned\n{TUNE.replace('[0.5, 1.0, 2.0]', '[1.0, 2.0]')}")
    make_streets(fresh.folder / "data" / "streets", train=5, val=2, size=(64, 128))
    assert "run `isoclock tune demo`" in fresh.snakemake("all", status=2)

    profile = ("--profile", "workflow/profiles/local")
    cell = f"{HELD_OUT}/tiny/kd.x2/compute-6/0"
    fresh.snakemake("--config", "grid=demo.sweep", "--", f"results/evaluate/{cell}/scores.json")
    output = fresh.run("isoclock", "tune", "demo", *profile)
    assert len(re.findall(r"^(?:local)?rule student:$", output, re.MULTILINE)) == 3, "one was there"
    assert len(re.findall(r"^(?:local)?rule profile:$", output, re.MULTILINE)) == 1, (
        "none.x2 has that of none, and kd.x2 that of kd"
    )
    chosen = yaml.safe_load((fresh.folder / "params/tuned/demo.yaml").read_text())["streets"]["tiny"]
    assert {entry["runs"] for entry in chosen.values()} == {2}
    output = fresh.run("isoclock", "tune", "demo", *profile)
    assert "rule student:" not in output, "there is nothing left to do"

    fresh.snakemake("all")
    with (fresh.folder / "results/report/demo/cells.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    factors = {name: entry["factor"] for name, entry in chosen.items()}
    assert {row["method"] for row in rows} == {name if f == 1 else f"{name}.x{f:g}" for name, f in factors.items()}
    assert {row["status"] for row in rows} == {"finished"}
    assert {row["weights"].split()[0] for row in rows} == {"tuned"}
    assert all(float(row["tuning_s"]) > 0 for row in rows)
    assert "Nothing to be done" in fresh.snakemake("--dry-run", "all")
