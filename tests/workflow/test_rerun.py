"""What Snakemake does again after a change, with real runs: run ids and weights of all cells are compared."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from clone import METHODS, TOKEN, Clone

from tiny_study import edit

pytestmark = [pytest.mark.xdist_group("workflow"), pytest.mark.timeout(600)]

KD = "src/isoclock/methods/kd.py"
NOTHING = "Nothing to be done"


def rules(output: str) -> set[str]:
    """Names of the rules that Snakemake says it runs."""
    return set(re.findall(r"^(?:local)?rule (\w+):$", output, re.MULTILINE))


def test_everything_is_made(studied: Clone) -> None:
    assert len(studied.students()) == len(METHODS)
    page = (studied.folder / "results/report/demo/report.html").read_text()
    assert all(method in page for method in METHODS)
    assert (studied.folder / "mlflow.db").is_file()


def test_a_second_start_finds_nothing_to_do(studied: Clone) -> None:
    assert NOTHING in studied.snakemake("all")


def test_deleted_results_are_made_again(studied: Clone) -> None:
    before = studied.students()
    scores = studied.folder / "results/evaluate/streets/tiny/fitnet/compute-6/0/scores.json"
    scores.unlink()
    shutil.rmtree(studied.folder / "results/student/streets/tiny/none")
    assert rules(studied.snakemake("all")) == {"student", "evaluate", "report", "sync", "all"}
    assert studied.students() == before, "the run is still in runs/ and is published again"
    assert scores.is_file()
    assert NOTHING in studied.snakemake("all")


def test_a_token_in_the_environment_is_written_nowhere(studied: Clone) -> None:
    """Every verb ran with one: data, logs of verbs and of Snakemake, ledgers, records, the store, the report (fault 16)."""
    written = [path for path in studied.folder.rglob("*") if path.is_file()]
    places = {path.relative_to(studied.folder).parts[0] for path in written}
    assert places >= {".snakemake", "results", "runs", "mlflow.db", "printed"}
    assert any(path.parent.name == "log" for path in written if ".snakemake" in path.parts)
    assert [path for path in written if TOKEN.encode() in path.read_bytes()] == []


def test_comments_formatting_and_docstrings_redo_nothing(studied: Clone) -> None:
    for name in (KD, "src/isoclock/training/loop.py", "src/isoclock/data/loading/augment.py"):
        path = studied.folder / name
        text = path.read_text()
        opening = text.index('"""') + 3
        path.write_text(text[:opening] + "Other words. " + text[opening:] + "\n\n# A comment.\n")
    assert NOTHING in studied.snakemake("all")


@pytest.mark.test_all
def test_a_weight_redoes_its_method_only(studied: Clone) -> None:
    before = studied.students()
    edit(studied.folder / "params/methods.yaml", "weights: {kd: 1.0}", "weights: {kd: 2.0}")
    studied.snakemake("all")
    assert studied.retrained(before) == {"kd"}
    assert NOTHING in studied.snakemake("all")


def test_an_edited_loss_redoes_its_method_only(studied: Clone) -> None:
    before = studied.students()
    path = studied.folder / "src/isoclock/methods/fitnet.py"
    path.write_text(path.read_text() + "\n\nADDED = 1\n")
    studied.snakemake("all")
    assert studied.retrained(before) == {"fitnet"}


def test_a_scoring_edit_scores_again_and_trains_nothing(studied: Clone) -> None:
    before = studied.students()
    path = studied.folder / "src/isoclock/scoring/confusion.py"
    path.write_text(path.read_text() + "\n\nADDED = 1\n")
    output = studied.snakemake("--dry-run", "all")
    assert rules(output) >= {"evaluate", "evaluate_teacher"}
    assert not rules(output) & {"student", "teacher"}
    assert studied.retrained(before) == set()


def test_how_a_teacher_is_looked_at_scores_it_again_and_trains_nothing(studied: Clone) -> None:
    before, trained = studied.students(), studied.teacher()
    edit(studied.folder / "params/training.yaml", "  teacher:\n", "  teacher:\n    scoring: {flip: true}\n")
    output = studied.snakemake("all")
    assert rules(output) == {"evaluate_teacher", "report", "sync", "all"}
    assert studied.teacher() == trained
    assert studied.teacher_scores()["scoring"]["flip"]
    assert studied.retrained(before) == set()
    assert NOTHING in studied.snakemake("all")


def test_what_a_study_refuses_makes_no_teacher_and_no_profile_again(studied: Clone) -> None:
    """Jobs of a study take `--study`; the same teachers serve other grids without being trained again."""
    edit(studied.folder / "params/grids/demo.yaml", "study: false", "study: true")
    assert NOTHING in studied.snakemake("--dry-run", "teachers", "profiles")


def test_an_interrupted_run_goes_on_and_ends_with_the_same_weights(studied: Clone) -> None:
    edit(
        studied.folder / "params/budgets.yaml",
        "yardstick: kd\n    iterations: 6",
        "yardstick: kd\n    iterations: 200",
    )
    target = "results/student/streets/tiny/kd/compute-6/0/record.json"
    ledger = studied.folder / "runs/student/streets/tiny/kd/compute-6/0/ledger.jsonl"
    ledger.unlink()
    whole = studied.copy(studied.folder.parent / "whole")
    with subprocess.Popen(
        # No retry: where the signal reaches Snakemake in a callback that swallows it, it would go on with the job by itself.
        ["snakemake", "--profile", "workflow/profiles/local", "--retries", "0", target],
        cwd=studied.folder,
        env=studied.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        _wait_for_training(ledger, process)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=60) != 0
    assert not (studied.folder / target).exists()
    for clone in (studied, whole):
        clone.snakemake(target)
    interrupted, undisturbed = (json.loads((clone.folder / target).read_text()) for clone in (studied, whole))
    assert [segment["ended"] for segment in interrupted["segments"]] == ["stopped", "finished"]
    assert interrupted["digests"]["weights"] == undisturbed["digests"]["weights"]
    assert interrupted["iterations"] == {"planned": 200, "done": 200}


def _wait_for_training(ledger: Path, process: subprocess.Popen[bytes], limit_s: float = 120) -> None:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline and process.poll() is None:
        if ledger.is_file() and '"event": "train"' in ledger.read_text():
            return
        time.sleep(0.02)  # polling for an event of another process, which has no other way to tell
    raise AssertionError("the run never trained, or ended before it could be interrupted")
