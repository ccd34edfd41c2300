"""Another version of the protocol, through real Snakemake: what is made again, what stays, and what a table says before."""

from __future__ import annotations

import csv
import json
import re

import pytest
from clone import Clone

from isoclock.protocol import VERSION
from tiny_study import edit

pytestmark = [pytest.mark.xdist_group("workflow"), pytest.mark.timeout(900)]

NEW = VERSION + 1
MADE = ("profile/streets/tiny/kd", "plan/streets/tiny/accepted/compute-6", "plan/streets/tiny/kd/compute-6")
CELL = "streets/tiny/kd/compute-6/0"


@pytest.mark.test_all
def test_a_new_version_makes_all_again_but_data_and_teachers(studied: Clone) -> None:
    before, teacher = studied.students(), studied.teacher()
    edit(studied.folder / "src/isoclock/protocol.py", f"\nVERSION = {VERSION}\n", f"\nVERSION = {NEW}\n")

    def versions() -> set[int]:
        paths = [f"{name}.json" for name in MADE]
        paths += [f"student/{CELL}/record.json", f"evaluate/{CELL}/scores.json", "teacher/streets/small/scores.json"]
        return {json.loads((studied.folder / "results" / path).read_text())["protocol_version"] for path in paths}

    assert versions() == {VERSION}
    output = " ".join(studied.run("isoclock", "report", "--grid", "demo", "--table-only").split())
    assert f"Protocol version {VERSION}: not to be compared with results of version {NEW}." in output
    for verb, made in (
        ("plan streets tiny compute-6", "results/profile/streets/tiny/kd.json"),
        ("plan streets tiny compute-6 kd", "results/profile/streets/tiny/kd.json"),
        (f"student {CELL}", "results/plan/streets/tiny/kd/compute-6.json"),
        (f"evaluate {CELL}", f"results/student/{CELL}/record.json"),
    ):
        (line,) = re.findall(r"^isoclock: .*$", studied.run("isoclock", *verb.split(), status=2), re.MULTILINE)
        assert f"{made}: made under version {VERSION} of the protocol, and this is version {NEW}" in line

    studied.snakemake("all")
    assert versions() == {NEW}
    assert studied.retrained(before) == {"none", "kd", "fitnet"}
    assert studied.teacher() == teacher
    with (studied.folder / "results/report/demo/cells.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {(row["status"], row["protocol_version"]) for row in rows} == {("finished", str(NEW))}
    assert "Nothing to be done" in studied.snakemake("all")


def test_a_budget_is_resolved_again_in_the_run_that_measures_its_yardstick_again(studied: Clone) -> None:
    edit(studied.folder / "params/training.yaml", "batch: 2", "batch: 4")
    output = studied.snakemake("all", "--dry-run")
    assert re.search(r"^profile +3$", output, re.MULTILINE)
    assert re.search(r"^budget +1$", output, re.MULTILINE)
