"""DVC and Snakemake give the same answers, with real runs."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
import yaml
from clone import METHODS, ROOT, Clone

from tiny_study import edit

RESULTS_OF = {"prepare": "data"}  # a stage's folder under results/, where it is not its name


@pytest.mark.xdist_group("workflow")
@pytest.mark.timeout(900)
def test_stale_stages_are_those_of_the_change(studied: Clone) -> None:
    """`dvc status` after each change, and one `dvc repro`."""
    put_under_dvc(studied)
    studied.run("dvc", "commit", "--quiet", "--force")
    assert stale(studied) == set()

    path = studied.folder / "src/isoclock/methods/kd.py"
    path.write_text(path.read_text() + "\n# A comment.\n")
    assert stale_students(studied) == set()
    path = studied.folder / "src/isoclock/methods/fitnet.py"
    path.write_text(path.read_text() + "\n\nADDED = 1\n")
    assert stale_students(studied) == {"student@fitnet"}, "one loss edited: its cells only"
    edit(path, "\n\nADDED = 1\n", "")
    weight = "weights: {kd: 1.0}", "weights: {kd: 2.0}"
    edit(studied.folder / "params/methods.yaml", *weight)
    assert stale_students(studied) == {"student@kd"}
    edit(studied.folder / "params/methods.yaml", *reversed(weight))
    assert stale_students(studied) == set()
    assert stale(studied) == set(), "and back"

    score_teachers_another_way(studied)


@pytest.mark.test_all
@pytest.mark.xdist_group("workflow")
@pytest.mark.timeout(900)
def test_repro_redoes_what_changed(studied: Clone) -> None:
    put_under_dvc(studied)
    before = studied.students()
    studied.run("dvc", "repro", timeout_s=600)
    assert studied.retrained(before) == set(), "what Snakemake has made, DVC does not make again"

    path = studied.folder / "src/isoclock/methods/kd.py"
    path.write_text(path.read_text() + "\n# A comment.\n")
    shown = studied.run("dvc", "repro")
    assert "snakemake" not in shown.replace("Stage", ""), shown
    assert studied.retrained(before) == set()

    (studied.folder / "ratios").write_text("2.03")  # what is measured now is 1.5 per cent more than what was accepted
    studied.snakemake("--forcerun", "results/profile/streets/tiny/kd.json", "--", "profiles")
    shown = studied.run("dvc", "repro")
    assert "snakemake" not in shown.replace("Stage", ""), shown
    assert studied.retrained(before) == set()

    path = studied.folder / "src/isoclock/methods/fitnet.py"
    path.write_text(path.read_text() + "\n\nADDED = 1\n")
    shown = studied.run("dvc", "repro", timeout_s=600)
    assert "Running stage 'student@fitnet'" in shown
    assert "Running stage 'student@kd'" not in shown
    assert studied.retrained(before) == {"fitnet"}, "one loss edited: its cells only"

    score_teachers_another_way(studied)


def put_under_dvc(study: Clone) -> None:
    study.run("git", "init", "--quiet")
    study.run("dvc", "init", "--quiet")
    study.run("dvc", "add", "--quiet", "data")


def score_teachers_another_way(study: Clone) -> None:
    """By `dvc repro`, after which Snakemake finds nothing to do: teachers are scored again, and nothing is trained."""
    before, trained = study.students(), study.teacher()
    edit(study.folder / "params/training.yaml", "  teacher:\n", "  teacher:\n    scoring: {flip: true}\n")
    shown = study.run("dvc", "repro", timeout_s=600)
    assert "Running stage 'teacher'" in shown
    assert "Running stage 'evaluate" not in shown, "students are looked at as before"
    assert study.teacher_scores()["scoring"]["flip"]
    assert study.teacher() == trained
    assert study.retrained(before) == set()
    shown = study.snakemake("--dry-run", "all")
    left = set(re.findall(r"^(?:local)?rule (\w+):$", shown, re.MULTILINE))
    assert left <= {"sync", "all"}, "and Snakemake agrees: only MLflow's marks are its own"


def stale_students(study: Clone) -> set[str]:
    """Stages of students that `dvc repro` would run, once stamps are written."""
    study.run("isoclock", "stamp", "--grid", "demo")
    return {stage for stage in stale(study) if stage.startswith("student")}


def stale(study: Clone) -> set[str]:
    """Stages that `dvc repro` would run, but the one that writes stamps: it has just been done by hand."""
    shown = json.loads(study.run("dvc", "status", "--json"))
    return set(shown) - {"stamps"}


def test_stages_are_the_workflow(studied_stages: dict[str, dict]) -> None:
    """A stage a verb; each command names a target that is there, and each output is one that the rules write."""
    verbs = ["prepare", "teacher", "profile", "plan", "student", "evaluate", "report"]
    assert [name for name in studied_stages if name != "stamps"] == verbs
    rules = "\n".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    for name in verbs:
        stage = studied_stages[name]
        command = stage["cmd"] if isinstance(stage["cmd"], str) else stage["cmd"][0]
        target = command.split(" -- ")[1]
        assert f"rule {target}:" in rules
        allowed = command.split("--allowed-rules ")[1].split(" --")[0].split()
        assert target in allowed
        assert all(f"rule {rule}:" in rules for rule in allowed)
        for out in stage["outs"]:
            (path, options), *_ = out.items()
            assert path.startswith(f"results/{RESULTS_OF.get(name, name)}/")
            assert options == {"persist": True}, "DVC would remove it before the stage runs"
        assert any(str(dep).startswith("results/stamps/") for dep in stage["deps"])


@pytest.fixture
def studied_stages() -> dict[str, dict]:
    stages: dict[str, dict] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    return stages


def test_students_are_a_matrix_over_the_methods_of_the_grid() -> None:
    from dvc.repo import Repo

    with Repo(str(ROOT)) as repo:
        names = {stage.addressing for stage in repo.index.stages}
    methods = yaml.safe_load((ROOT / "params/grids/demo.yaml").read_text())["blocks"][0]["methods"]
    assert {f"student@{method}" for method in methods} <= names
    assert len(METHODS) >= 3


def test_data_dvc_pins_the_generated_streets(tmp_path: Path) -> None:
    from isoclock.data.streets.make import make_streets

    make_streets(tmp_path / "streets", workers=1)
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    listing = [
        {"md5": hashlib.md5(path.read_bytes()).hexdigest(), "relpath": path.relative_to(tmp_path).as_posix()}
        for path in files
    ]
    listing.sort(key=lambda entry: entry["relpath"])
    digest = hashlib.md5(json.dumps(listing, sort_keys=True).encode()).hexdigest()
    pinned = yaml.safe_load((ROOT / "data.dvc").read_text())["outs"][0]
    assert pinned["nfiles"] == len(files)
    assert pinned["md5"] == f"{digest}.dir"
