"""Runs of the whole pipeline on a real SLURM: a grid, a grid with a failing cell, and a site file with placeholders."""

from __future__ import annotations

import re

import pytest
from scenario import OnCluster
from studies import ITERATIONS

pytestmark = pytest.mark.xdist_group("slurm")

CELLS = [(method, budget) for budget in ("iteration-6", "compute-6") for method in ("none", "kd")]
JOBS = {"prepare": 1, "teacher": 1, "evaluate_teacher": 1, "profile": 2, "student": len(CELLS), "evaluate": len(CELLS)}

FAILED_JOB = "SLURM status is: 'FAILED'"  # the executor's line; a failed job's log has Snakemake's own one in it


def the_demo_grid(study: OnCluster) -> None:
    study.settle(gpu_as="gres", gpu_model=None)
    study.output_text = study.run("all")


@pytest.mark.slow
@pytest.mark.scenario(play=the_demo_grid, jobs=sum(JOBS.values()), fresh=True)
def test_the_demo_grid_ends_with_its_report(played: OnCluster) -> None:
    folder = played.clone.folder
    for method, budget in CELLS:
        record = played.record(method, budget)
        assert record["status"] == "finished"
        assert record["iterations"]["done"] == record["iterations"]["planned"]
        assert record["iterations"]["planned"] >= 1, (
            "iterations of `none` under compute-6 depend on other load on the machine"
        )
        assert played.cell("evaluate", method, budget, "scores.json").is_file()
    assert played.record("kd", "iteration-6")["iterations"]["planned"] == ITERATIONS
    assert played.record("kd", "compute-6")["iterations"]["planned"] == 6, "its own yardstick"
    rows = played.reported("comparison.csv")
    assert [(row["method"], row["budget"]) for row in rows] == CELLS
    for row in rows:
        assert (row["n"], row["n_planned"]) == ("1", "1")
        assert 0 <= float(row["miou_mean"]) <= 1
        assert row["iterations_done"] == row["iterations_planned"]
    assert "1 of 1" in (folder / "results/report/demo/report.html").read_text()
    assert sorted(path.stem for path in (folder / "results/sync/demo").iterdir()) == ["evaluate", "student", "teacher"]
    assert (folder / "mlflow.db").is_file()
    assert {job.state for job in played.submitted()} == {"COMPLETED"}
    jobs = re.findall(r"slurm_logs/rule_(\w+)/", played.output_text)
    assert {rule: jobs.count(rule) for rule in jobs} == JOBS
    assert set(re.findall(r"^localrule (\w+):$", played.output_text, re.MULTILINE)) == {
        "budget",
        "plan",
        "report",
        "sync",
        "all",
    }


def one_cell_fails(study: OnCluster) -> None:
    """And is given up before the other one is scored: without keep-going nothing more would be submitted."""
    study.settle(spare_retries=0)
    study.slow_down(1)

    def meanwhile() -> None:
        study.until(lambda: study.output.read_text().count(FAILED_JOB) == 2, "fitnet is given up")
        study.speed_up()

    study.output_text = study.run("all", broken="FitNet", status=1, meanwhile=meanwhile)


@pytest.mark.scenario(play=one_cell_fails, jobs=6)
def test_one_failed_cell_does_not_stop_the_others(played: OnCluster, undisturbed: str) -> None:
    assert played.record()["digests"]["weights"] == undisturbed
    assert played.cell("evaluate", "kd", "iteration-6", "scores.json").is_file()
    assert not played.cell("student", "fitnet", "iteration-6", "record.json").exists()
    assert "this method is broken" in played.output_text, "the log of the failed job is shown"
    assert len(re.findall(r"Trying to restart job", played.output_text)) == 1, "jobs needed (one) and none to spare"
    given_up = played.output_text.rindex(FAILED_JOB)
    assert given_up < played.output_text.index("\nrule evaluate:"), "the other one is scored after that"


@pytest.mark.scenario(play=one_cell_fails, jobs=6)
def test_the_report_shows_a_failed_cell_as_a_hole(played: OnCluster) -> None:
    kd, fitnet = played.reported("cells.csv")
    assert (kd["method"], kd["status"]) == ("kd", "finished")
    assert 0 <= float(kd["miou"]) <= 1
    assert (fitnet["method"], fitnet["status"]) == ("fitnet", "missing")
    missing = "student/streets/tiny/fitnet/iteration-6/0/record.json"
    assert fitnet["message"].startswith(f"not trained: no {missing}")
    assert [(row["method"], row["n"]) for row in played.reported("comparison.csv")] == [("kd", "1"), ("fitnet", "0")]
    page = (played.clone.folder / "results/report/demo/report.html").read_text()
    assert "0 of 1" in page
    assert missing in page


def site_file_with_placeholders(study: OnCluster) -> None:
    study.output_text = study.run("all", status=2)


@pytest.mark.scenario(play=site_file_with_placeholders, fresh=True)
def test_a_placeholder_gives_one_line_and_no_job(played: OnCluster) -> None:
    (line,) = [line for line in played.output_text.splitlines() if line.startswith("isoclock: ")]
    assert line.startswith("isoclock: workflow/profiles/slurm/site.yaml: partition, account: still FILL-IN; ")
    assert played.output_text.rstrip().endswith(line), "nothing comes after it"
    assert "Traceback" not in played.output_text
    assert played.submitted() == []
    assert not (played.clone.folder / "runs").exists()
    assert not list((played.clone.folder / ".snakemake").glob("locks/*")), "the next start is not refused"
