"""Minutes, threads and retries of jobs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import documents
from isoclock.cluster import site as site_module
from isoclock.cluster.site import OVERHEAD_MIN, RUNTIME_FLOOR_MIN, Site
from isoclock.dag.resources import ASSUMED_MIN
from isoclock.dag.targets import GridTargets
from isoclock.records.document import write
from tiny_study import TinyStudy


def test_threads_include_loader_processes(opened: Callable[..., GridTargets], in_the_study: TinyStudy) -> None:
    in_the_study.edit("training.yaml", "workers: 0", "workers: 3")
    assert opened().resources.threads("streets", "student") == 4


def test_the_runtime_comes_from_the_plan(opened: Callable[..., GridTargets], in_the_study: TinyStudy) -> None:
    path = in_the_study.folder / "plan.json"
    targets = opened()
    for planned_s, minutes in ((1.0, RUNTIME_FLOOR_MIN), (7200.0, 180), (7201.0, 181)):
        write(path, documents.plan(planned_s=planned_s))
        assert targets.resources.student_runtime_min(str(path)) == minutes
    with pytest.raises(FileNotFoundError):
        targets.resources.student_runtime_min("results/plan/none.json")


def test_a_damaged_plan_leaves_the_runtime_assumed(opened: Callable[..., GridTargets], in_the_study: TinyStudy) -> None:
    """The plan is made again before the job starts, or the job itself reports the damage."""
    path = in_the_study.folder / "plan.json"
    path.write_text('{"schema": 1}')
    assert opened().resources.student_runtime_min(str(path)) == ASSUMED_MIN["student"]


@pytest.fixture
def on_a_cluster(opened: Callable[..., GridTargets], monkeypatch: pytest.MonkeyPatch) -> Callable[..., GridTargets]:
    """Targets of a process that submits to a cluster with jobs of up to that many minutes. No SLURM is asked."""
    monkeypatch.setenv("PATH", "/none")

    def submitting(limit_min: int, **values: object) -> GridTargets:
        site = Site.model_validate({"partition": "none-such", "account": None, "job_limit_min": limit_min, **values})
        monkeypatch.setattr(site_module, "_in_use", site)
        monkeypatch.setattr(site_module, "_read_from", site_module.SITE_FILE)
        return opened()

    return submitting


def test_on_a_cluster_no_job_requests_more_than_its_limit(
    in_the_study: TinyStudy, on_a_cluster: Callable[..., GridTargets]
) -> None:
    path = in_the_study.folder / "plan.json"
    targets = on_a_cluster(120)
    for planned_s, minutes in ((1.0, RUNTIME_FLOOR_MIN), (3600.0, 90 + OVERHEAD_MIN), (7200.0, 120), (1e6, 120)):
        write(path, documents.plan(planned_s=planned_s))
        assert targets.resources.student_runtime_min(str(path)) == minutes
    assert targets.resources.runtime_min("teacher") == 120
    assert targets.resources.runtime_min("evaluate") == 60 + OVERHEAD_MIN


def test_retries_of_students_follow_from_the_longest_plan(
    in_the_study: TinyStudy, on_a_cluster: Callable[..., GridTargets]
) -> None:
    targets = on_a_cluster(60 + OVERHEAD_MIN)
    for number, plan in enumerate(targets.outputs("plan")):
        # 1.5 times that many minutes: up to 540
        write(in_the_study.folder / plan, documents.plan(planned_s=max(1.0, 60.0 * 40 * number)))
    assert targets.resources.retries("student") == 9 + 2
    assert on_a_cluster(60 + OVERHEAD_MIN, spare_retries=7).resources.retries("student") == 9 + 7
    assert on_a_cluster(1000).resources.retries("student") == 1 + 2
    assert targets.resources.retries("teacher") == 24 + 2


def test_the_assumed_day_fits_a_limit_of_24_hours(on_a_cluster: Callable[..., GridTargets]) -> None:
    resources = on_a_cluster(24 * 60).resources
    assert resources.runtime_min("teacher") == 24 * 60
    assert resources.retries("teacher") == 1 + 2
    assert on_a_cluster(100_000).resources.runtime_min("teacher") == 24 * 60, "and a limit that is not known"


def test_a_student_without_a_plan_is_assumed_to_take_a_day(on_a_cluster: Callable[..., GridTargets]) -> None:
    assert on_a_cluster(240 + OVERHEAD_MIN).resources.retries("student") == 6 + 2


def test_without_a_cluster_the_command_line_sets_retries(opened: Callable[..., GridTargets]) -> None:
    assert opened().resources.retries("student") is None
    assert opened().resources.retries("teacher") is None


def test_a_placeholder_stops_the_workflow_before_the_first_job(
    opened: Callable[..., GridTargets], capsys: pytest.CaptureFixture[str], on_a_cluster: Callable[..., GridTargets]
) -> None:
    opened().check_site()
    on_a_cluster(60).check_site()
    targets = on_a_cluster(60, account="FILL-IN")
    with pytest.raises(SystemExit) as caught:
        targets.check_site()
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("isoclock: workflow/profiles/slurm/site.yaml: account: still FILL-IN; ")
