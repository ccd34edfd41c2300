"""Two data sets with one teacher, through real Snakemake: it is trained once, and found by all that comes after it."""

from __future__ import annotations

import csv
import json
import re
import shutil

import pytest
from clone import Clone

from tiny_study import add_avenues

pytestmark = [pytest.mark.xdist_group("workflow"), pytest.mark.timeout(900)]


def rules(output: str) -> list[str]:
    return re.findall(r"^(?:local)?rule (\w+):$", output, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.test_all
def test_a_teacher_of_two_data_sets_is_trained_once(fresh: Clone) -> None:
    from isoclock.data.streets.make import make_streets

    add_avenues(fresh.folder / "params")
    make_streets(fresh.folder / "data" / "streets", train=5, val=2, size=(64, 128))
    output = fresh.snakemake("--config", "grid=avenues", "--", "all")
    results = fresh.folder / "results"
    assert [rules(output).count(rule) for rule in ("prepare", "teacher", "evaluate_teacher")] == [2, 1, 1]
    assert [path.parent.name for path in results.glob("teacher/*/small")] == ["streets"]
    output = fresh.snakemake("--config", "grid=both", "--", "all")
    assert not {"prepare", "teacher", "evaluate_teacher"} & set(rules(output)), "they are there"

    teacher = json.loads((results / "teacher/streets/small/record.json").read_text())["digests"]["weights"]
    students = [json.loads(path.read_text()) for path in sorted(results.glob("student/**/record.json"))]
    assert [record["cell"]["dataset"] for record in students] == ["avenues", "streets"]
    assert {record["digests"]["teacher"] for record in students} == {teacher}
    for grid, cells in (("avenues", 1), ("both", 2)):
        with (results / f"report/{grid}/cells.csv").open() as stream:
            shares = [row["teacher_miou"] for row in csv.DictReader(stream)]
        assert len(shares) == cells
        assert all(shares), "its scores are those of the other data set's folder"

    # As it is in a clone that got the results from elsewhere.
    shutil.rmtree(fresh.folder / ".snakemake")
    (fresh.folder / "mlflow.db").unlink()
    assert "files verified" in fresh.run("isoclock", "adopt", "--grid", "avenues")
    assert "Nothing to be done" in fresh.snakemake("--dry-run", "--config", "grid=avenues", "--", "all")
    assert "runs: 0 created" in fresh.run("isoclock", "sync", "--grid", "avenues")
    output = fresh.run("isoclock", "sync", "--grid", "both")
    assert "created avenues/" not in output
    assert "created streets/teacher/small" not in output, "the teacher is in the store since the grid that shares it"

    path = results / "teacher/streets/small/weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    output = fresh.run("isoclock", "adopt", "--grid", "avenues", status=2)
    assert "avenues/tiny/kd/compute-6/0/record.json: made from another teacher than is here" in output
