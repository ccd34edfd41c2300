"""The verbs `teacher` and `student` on a tiny study: what they publish, and what they refuse."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from isoclock.budget.audit import audit
from isoclock.data.loading.batches import Batches
from isoclock.data.loading.prepared import PreparedData
from isoclock.data.loading.stream import TrainingStream
from isoclock.digests import Digests
from isoclock.errors import ArtifactError, DataError, UserError
from isoclock.files import read_json, sha256_file, sha256_path, write_json
from isoclock.models import build_segmenter
from isoclock.models.encoders import build_encoder
from isoclock.protocol import VERSION
from isoclock.runner.ledger import read_ledger
from isoclock.runner.run import train_student, train_teacher
from isoclock.scoring.score import evaluate_trained
from isoclock.scoring.target import Target
from isoclock.training.assemble import ANCHOR_SEED, assemble_step
from tiny_study import TinyStudy, add_avenues, cell, cpu_kind, write_plan

pytestmark = pytest.mark.filterwarnings("ignore:.*random weights")
KIND = cpu_kind()
RECORD = {
    "schema", "protocol_version",
    "run_id", "kind", "cell", "status", "message", "iterations", "clock", "segments", "plan", "params", "best",
    "checkpoints", "digests", "epochs", "started_unix", "ended_unix", "environment", "hardware",
}  # fmt: skip
PUBLISHED = {"record.json", "weights.safetensors", "ledger.jsonl", "validation.npz"}
SEGMENT = {"started_unix", "train_s", "iterations", "anchor_s", "anchor_steps", "device_kind", "threads", "ended"}
CELL = cell("kd")


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit-exactness is promised there."""
    monkeypatch.setattr("isoclock.runner.run.choose_device", lambda: torch.device("cpu"))


def record(study: TinyStudy, method: str = "kd") -> dict[str, Any]:
    return dict(read_json(study.layout.student(cell(method)) / "record.json", "student"))


def train(study: TinyStudy, method: str = "kd") -> str:
    return train_student(study.params, cell(method), study.layout)


@pytest.fixture
def at_batch(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[int, Any]]:
    """Things to do when training asks for the batch of that number (counted from 0 in each segment)."""
    todo: dict[int, Any] = {}
    original = TrainingStream.__next__

    def asked(self: TrainingStream) -> dict[str, torch.Tensor]:
        if self._batches.seed == 0:  # the run's own stream, not the anchor's
            count = self.__dict__.setdefault("asked", 0)
            self.__dict__["asked"] = count + 1
            if count in todo:
                todo.pop(count)()
        return original(self)

    monkeypatch.setattr(TrainingStream, "__next__", asked)
    return todo


def stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_teacher_is_published_whole(taught_study: TinyStudy) -> None:
    folder = taught_study.layout.teacher("streets", "small")
    found = read_json(folder / "record.json", "teacher")
    assert {path.name for path in folder.iterdir()} == PUBLISHED
    assert set(found) == RECORD
    assert (found["kind"], found["status"], found["message"]) == ("teacher", "finished", "")
    assert found["cell"] == {"dataset": "streets", "model": "small", "seed": 0}
    assert found["iterations"] == {"planned": 6, "done": 6}
    assert found["plan"] is None
    assert found["segments"][0]["anchor_s"] is None
    assert found["digests"]["teacher"] is None
    assert found["digests"]["weights"] == sha256_file(folder / "weights.safetensors")


def test_a_student_is_published_whole(taught_study: TinyStudy) -> None:
    plan_path = write_plan(taught_study)
    assert train(taught_study) == "finished"
    folder = taught_study.layout.student(CELL)
    assert {path.name for path in folder.iterdir()} == PUBLISHED
    found = record(taught_study)
    assert set(found) == RECORD
    assert (found["schema"], found["kind"], found["status"], found["message"]) == (2, "student", "finished", "")
    assert found["cell"] == CELL.as_dict()
    assert len(found["run_id"]) == 32
    assert int(found["run_id"], 16) >= 0
    assert found["iterations"] == {"planned": 6, "done": 6}
    assert set(found["clock"]) == {"train_s", "evaluate_s", "io_s", "startup_s", "lost_s"}
    assert found["clock"]["train_s"] > 0
    assert found["clock"]["lost_s"] == 0
    (segment,) = found["segments"]
    assert set(segment) >= SEGMENT
    assert (segment["iterations"], segment["ended"], segment["device_kind"]) == (6, "finished", KIND)
    assert segment["anchor_steps"] == pytest.approx(segment["train_s"] / segment["anchor_s"])
    assert segment["train_s"] == found["clock"]["train_s"]
    assert found["plan"] == read_json(plan_path, "plan")
    assert found["params"]["method"]["weights"] == {"kd": 1.0}
    assert found["params"]["recipe"]["crop"] == [32, 64]
    assert len(found["params"]["classes"]) == 19
    assert found["best"]["iteration"] in (3, 6)
    assert found["checkpoints"]["count"] == 1
    assert found["checkpoints"]["bytes"] > 0
    assert found["digests"]["weights"] == sha256_file(folder / "weights.safetensors")
    assert found["digests"]["plan"] == sha256_file(plan_path)
    teacher = read_json(taught_study.layout.teacher("streets", "small") / "record.json", "teacher")
    assert found["digests"]["teacher"] == teacher["digests"]["weights"]
    assert all(len(found["digests"][key]) == 64 for key in ("weights", "teacher", "data", "code", "plan"))
    assert found["started_unix"] <= found["ended_unix"]
    assert {"python", "torch", "timm"} <= set(found["environment"])
    assert set(found["hardware"]) == {"device", "device_kind", "threads", "cpu_cores"}
    events = [event["event"] for event in read_ledger(folder / "ledger.jsonl")]
    between = ["anchor", "evaluate", "anchor", "anchor"]  # after 1, 3 and 4 of 6 iterations
    assert events == ["start", "anchor", *between, "train", "evaluate", "anchor", "checkpoint", "finish"]
    (row,) = audit([CELL], taught_study.layout)
    assert row.spent_anchor_steps == pytest.approx(segment["anchor_steps"])


def test_the_ledger_tells_each_term_unweighted(taught_study: TinyStudy) -> None:
    taught_study.edit("methods.yaml", "weights: {kd: 1.0}", "weights: {kd: 3.0}")
    write_plan(taught_study, iterations=1)
    train(taught_study)
    (output,) = [e for e in read_ledger(taught_study.layout.student(CELL) / "ledger.jsonl") if e["event"] == "train"]
    terms = output["terms"]
    assert set(terms) == {"ce", "aux", "kd"}
    assert output["loss"] == pytest.approx(terms["ce"] + 0.4 * terms["aux"] + 3 * terms["kd"], rel=1e-5)
    assert (output["iteration"], output["lr"]) == (1, 0.02)


@pytest.mark.parametrize("method", ["kd", "mgd"])
def test_a_stopped_run_goes_on_to_the_same_weights(
    taught_study: TinyStudy, at_batch: dict[int, Any], method: str
) -> None:
    write_plan(taught_study, method)
    train(taught_study, method)
    whole = record(taught_study, method)
    shutil.rmtree(taught_study.layout.student_run(cell(method)))
    shutil.rmtree(taught_study.layout.student(cell(method)))

    at_batch[1] = stop
    assert train(taught_study, method) == "stopped"
    assert not taught_study.layout.student(cell(method)).exists(), "nothing is published before the end"
    at_batch[2] = stop
    assert train(taught_study, method) == "stopped"
    assert train(taught_study, method) == "finished"
    found = record(taught_study, method)
    assert found["digests"]["weights"] == whole["digests"]["weights"]
    assert [segment["iterations"] for segment in found["segments"]] == [2, 3, 1]
    assert [segment["ended"] for segment in found["segments"]] == ["stopped", "stopped", "finished"]
    assert found["clock"]["lost_s"] == 0
    assert found["clock"]["train_s"] == pytest.approx(sum(segment["train_s"] for segment in found["segments"]))
    assert found["checkpoints"]["count"] == 3
    assert len(json.loads((taught_study.layout.student_run(cell(method)) / "run.json").read_text())["run_id"]) == 32


def test_a_teacher_that_was_stopped_goes_on_to_the_same_weights(
    taught_study: TinyStudy, at_batch: dict[int, Any]
) -> None:
    folder = taught_study.layout.teacher("streets", "small")
    whole = sha256_file(folder / "weights.safetensors")
    shutil.rmtree(taught_study.layout.teacher_run("streets", "small"))
    at_batch[3] = stop
    assert train_teacher(taught_study.params, "streets", "small", taught_study.layout) == "stopped"
    assert train_teacher(taught_study.params, "streets", "small", taught_study.layout) == "finished"
    assert sha256_file(folder / "weights.safetensors") == whole


@pytest.mark.parametrize("seed", [0, ANCHOR_SEED])
def test_a_run_whose_files_do_not_answer_is_stopped_and_resumed(
    taught_study: TinyStudy, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    write_plan(taught_study)
    reader, writer = os.pipe()
    made = Batches.__getitem__

    def blocked(batches: Batches, number: int) -> dict[str, Any]:
        if (batches.seed, number) == (seed, 3):
            stop()
            os.read(reader, 1)
        return made(batches, number)

    with monkeypatch.context() as patch:
        patch.setattr(Batches, "__getitem__", blocked)
        assert train(taught_study) == "stopped"
    os.write(writer, b"x")
    assert train(taught_study) == "finished"
    assert record(taught_study)["iterations"] == {"planned": 6, "done": 6}


def test_a_finished_run_is_published_again_without_training(taught_study: TinyStudy, at_batch: dict[int, Any]) -> None:
    write_plan(taught_study)
    train(taught_study)
    first = record(taught_study)
    shutil.rmtree(taught_study.layout.student(CELL))
    at_batch[0] = lambda: pytest.fail("it trains")
    assert train(taught_study) == "finished"
    again = record(taught_study)
    for key in ("run_id", "digests", "iterations", "segments", "best", "status", "checkpoints", "params", "plan"):
        assert again[key] == first[key], key
    assert again["clock"] == pytest.approx(first["clock"], abs=2e-4)
    assert again["clock"]["lost_s"] == 0


def test_every_method_starts_from_the_same_student(taught_study: TinyStudy) -> None:
    # The rate is next to nothing, so that what is published is what it started from.
    taught_study.edit("training.yaml", "lr: 0.02\n    provenance", "lr: 1.0e-30\n    provenance")
    taught_study.edit("training.yaml", "min_lr: 1.0e-4", "min_lr: 0.0")
    started = []
    for method in ("none", "kd", "mgd"):
        write_plan(taught_study, method)
        train(taught_study, method)
        weights = load_file(taught_study.layout.student(cell(method)) / "weights.safetensors")
        started.append(weights["classifier.1.weight"])
    assert torch.equal(started[0], started[1])
    assert torch.equal(started[0], started[2])


def test_seeds_differ(taught_study: TinyStudy) -> None:
    write_plan(taught_study, "none", iterations=1)
    for seed in (0, 1):
        train_student(taught_study.params, cell("none", seed=seed), taught_study.layout)
    digests = {
        sha256_file(taught_study.layout.student(cell("none", seed=seed)) / "weights.safetensors") for seed in (0, 1)
    }
    assert len(digests) == 2


def test_a_device_of_another_kind_is_refused(taught_study: TinyStudy) -> None:
    write_plan(taught_study, device_kind="cuda:NVIDIA H100 80GB HBM3")
    with pytest.raises(
        UserError, match=r"planned for cuda:NVIDIA H100 .* but this is cpu:.*isoclock profile streets tiny kd"
    ):
        train(taught_study)
    assert not taught_study.layout.student_run(CELL).exists()


def test_a_plan_of_another_version_is_refused(taught_study: TinyStudy) -> None:
    write_plan(taught_study, protocol_version=VERSION - 1)
    output = rf"made under version {VERSION - 1} .* is version {VERSION}; .*isoclock plan streets tiny iteration-6 kd\)"
    with pytest.raises(ArtifactError, match=output):
        train(taught_study)
    assert not taught_study.layout.student_run(CELL).exists()


def test_a_run_says_from_its_start_under_which_version_it_is(taught_study: TinyStudy) -> None:
    write_plan(taught_study)
    train(taught_study)
    run = read_json(taught_study.layout.student_run(CELL) / "run.json", "student")
    assert run["protocol_version"] == record(taught_study)["protocol_version"] == VERSION


def test_weights_that_are_not_the_teachers_are_refused(taught_study: TinyStudy) -> None:
    write_plan(taught_study)
    path = taught_study.layout.teacher("streets", "small") / "weights.safetensors"
    save_file({name: value + 1 for name, value in load_file(path).items()}, path)
    found, named = sha256_file(path), read_json(path.with_name("record.json"), "teacher")["digests"]["weights"]
    said = rf"weights\.safetensors: not the weights that record\.json names \(its SHA-256 is {found[:12]}, not {named[:12]}\)"
    with pytest.raises(
        ArtifactError, match=f"{said}; copy them back, or train it again .isoclock teacher streets small"
    ):
        train(taught_study)


def test_a_teacher_that_was_trained_as_another_model_is_refused(taught_study: TinyStudy) -> None:
    write_plan(taught_study)
    taught_study.edit(
        "models.yaml",
        "      head_channels: 24\n      aux_channels: 8\n    weights: random\n",
        """\
      head_channels: 24
      aux_channels: 8
    weights: imagenet
""",
    )
    with pytest.raises(
        ArtifactError, match=r"this teacher was trained with another weights \('random'\) than .*'imagenet'"
    ):
        train(taught_study)


def test_a_teacher_of_other_data_is_refused(taught_study: TinyStudy) -> None:
    write_plan(taught_study)
    index = taught_study.layout.prepared_index("streets")
    write_json(index, read_json(index, "prepare") | {"palette": [[1, 2, 3]] * 19})
    with pytest.raises(
        ArtifactError, match=r"trained on other data than are in .*streets .*isoclock teacher streets small"
    ):
        train(taught_study)


@pytest.mark.parametrize(("file", "method"), [("train.images.u8", "none"), ("val.labels.u8", "none")])
def test_data_that_are_not_those_of_the_index_are_refused(taught_study: TinyStudy, file: str, method: str) -> None:
    write_plan(taught_study, method)
    path = taught_study.layout.prepared("streets") / file
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(
        DataError, match=rf"{file}: not the file that index\.json names .*isoclock prepare streets` again"
    ):
        train(taught_study, method)
    assert not (taught_study.layout.student_run(cell(method)) / "run.json").exists()
    if not file.startswith("val"):
        return
    taught_study.edit("training.yaml", "evaluations: 2", "evaluations: 0")  # then training does not read them
    assert train(taught_study, method) == "finished"


def test_start_weights_that_change_while_they_are_loaded_are_refused(
    taught_study: TinyStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = taught_study.folder / "start.pth"
    encoder = build_encoder("tu-test_resnet", "random").model
    torch.save(encoder.state_dict(), path)
    models = taught_study.folder / "params" / "models.yaml"
    head, tail = models.read_text().rsplit("weights: random", 1)
    models.write_text(f"{head}weights: {path}{tail}")
    write_plan(taught_study, "none", iterations=1)

    def replaced(*arguments: Any, **named: Any) -> Any:
        step = assemble_step(*arguments, **named)
        torch.save({name: value + 1 for name, value in encoder.state_dict().items()}, path)
        return step

    with monkeypatch.context() as patch:
        patch.setattr("isoclock.runner.run.assemble_step", replaced)
        with pytest.raises(ArtifactError, match=r"start\.pth: not the file that it was at the start .*again"):
            train(taught_study, "none")
    assert train(taught_study, "none") == "finished"
    found = read_json(taught_study.layout.student_files(cell("none")).record, "student")
    assert found["digests"]["start_weights"] == sha256_file(path)


def test_start_weights_may_be_a_folder(taught_study: TinyStudy) -> None:
    folder, models = taught_study.folder / "encoder", taught_study.folder / "params" / "models.yaml"
    build_segmenter("segformer", 2, size="micro").network.segformer.save_pretrained(folder)
    head, tail = models.read_text().split("  tiny:\n", 1)
    rest = tail[tail.index("    provenance") :]
    entry = f"  tiny:\n    architecture: segformer\n    params: {{size: micro}}\n    weights: {folder}\n"
    models.write_text(head + entry + rest)
    write_plan(taught_study, "none", iterations=1)
    assert train(taught_study, "none") == "finished"
    found = read_json(taught_study.layout.student_files(cell("none")).record, "student")
    assert found["digests"]["start_weights"] == found["params"]["student"]["weights_sha256"] == sha256_path(folder)


def test_a_teacher_that_diverged_teaches_nobody(taught_study: TinyStudy) -> None:
    write_plan(taught_study)
    path = taught_study.layout.teacher("streets", "small") / "record.json"
    write_json(path, read_json(path, "teacher") | {"status": "diverged", "message": "loss is nan"})
    with pytest.raises(ArtifactError, match="this teacher diverged: loss is nan"):
        train(taught_study)


def test_a_pair_decides_how_its_teacher_runs(taught_study: TinyStudy) -> None:
    eager = train_and_digest(taught_study)
    taught_study.edit("models.yaml", "    student: tiny\n", "    student: tiny\n    teacher_inference: folded\n")
    folded = train_and_digest(taught_study)
    assert record(taught_study)["params"]["recipe"]["teacher_inference"] == "folded"
    assert folded["weights"] != eager["weights"]
    assert folded["teacher"] == eager["teacher"]


def stopped_after_two(study: TinyStudy, at_batch: dict[int, Any]) -> Path:
    """The run folder of a training that was stopped after two of its six iterations."""
    write_plan(study)
    at_batch[1] = stop
    assert train(study) == "stopped"
    return study.layout.student_run(CELL)


def train_and_digest(study: TinyStudy) -> dict[str, str]:
    write_plan(study)
    assert train(study) == "finished"
    return dict(record(study)["digests"])


def test_a_student_learns_from_another_data_sets_teacher(taught_study: TinyStudy) -> None:
    add_avenues(taught_study.folder / "params")
    layout = taught_study.layout
    shutil.copytree(layout.prepared("streets"), layout.prepared("avenues"))
    with pytest.raises(DataError, match=r"avenues/index\.json: of data set streets, so it was copied here"):
        PreparedData.open(layout.prepared("avenues")).verify([], Digests(layout.digests))
    index = layout.prepared_index("avenues")
    write_json(index, read_json(index, "prepare") | {"dataset": "avenues"})
    path = write_plan(taught_study)
    avenues = replace(CELL, dataset="avenues")
    write_json(layout.plan("avenues", "tiny", "kd", "iteration-6"), read_json(path, "plan") | {"dataset": "avenues"})
    assert train_student(taught_study.params, avenues, layout) == "finished"
    teacher = read_json(layout.teacher("streets", "small") / "record.json", "teacher")
    found = read_json(layout.student(avenues) / "record.json", "student")
    assert found["digests"]["teacher"] == teacher["digests"]["weights"]
    train(taught_study)
    assert record(taught_study)["digests"]["weights"] == found["digests"]["weights"], "of the same images and teacher"
    teacher["params"]["classes"] = ["lawn"]
    write_json(layout.teacher("streets", "small") / "record.json", teacher)
    shutil.rmtree(layout.student_run(avenues))
    with pytest.raises(ArtifactError, match=r"another class list than .*avenues"):
        train_student(taught_study.params, avenues, layout)


def test_no_kd_needs_no_teachers_weights(taught_study: TinyStudy) -> None:
    write_plan(taught_study, "none")
    (taught_study.layout.teacher("streets", "small") / "weights.safetensors").unlink()
    assert train(taught_study, "none") == "finished"


def test_a_change_of_what_it_depends_on_sets_the_old_run_aside(
    taught_study: TinyStudy, at_batch: dict[int, Any]
) -> None:
    folder = stopped_after_two(taught_study, at_batch)
    old = read_json(folder / "run.json", "student")["run_id"]
    taught_study.edit("methods.yaml", "temperature: 1.0", "temperature: 2.0")
    assert train(taught_study) == "finished"
    found = record(taught_study)
    assert found["run_id"] != old
    assert [segment["iterations"] for segment in found["segments"]] == [6], "from the beginning"
    assert found["clock"]["lost_s"] == 0
    aside = folder / "superseded" / old
    assert {path.name for path in aside.iterdir()} == {"run.json", "ledger.jsonl"}
    assert read_ledger(aside / "ledger.jsonl")[-1]["event"] == "stop"


def test_a_run_whose_setting_aside_was_interrupted_is_not_continued(
    taught_study: TinyStudy, at_batch: dict[int, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped_after_two(taught_study, at_batch)
    taught_study.edit("methods.yaml", "temperature: 1.0", "temperature: 2.0")
    moved, move = [], shutil.move

    def interrupted(*arguments: Any) -> Any:
        moved.append(move(*arguments))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "move", interrupted)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                train(taught_study)
    assert len(moved) == 2
    assert train(taught_study) == "finished"
    assert [segment["first_iteration"] for segment in record(taught_study)["segments"]] == [0]


def test_a_checkpoint_of_another_cell_is_not_continued(
    taught_study: TinyStudy, at_batch: dict[int, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    write_plan(taught_study, "none")
    assert train(taught_study, "none") == "finished"
    whole = record(taught_study, "none")["digests"]["weights"]
    folder = taught_study.layout.student_run(cell("none"))
    write_plan(taught_study)
    at_batch[3] = stop
    assert train(taught_study) == "stopped"
    shutil.rmtree(folder)
    at_batch[1] = stop
    assert train(taught_study, "none") == "stopped"
    for path in taught_study.layout.student_run(CELL).glob("checkpoint-*"):
        shutil.copy(path, folder)
    capsys.readouterr()
    assert train(taught_study, "none") == "finished"
    assert "checkpoint-000000004.pt: of another run" in capsys.readouterr().out
    assert record(taught_study, "none")["digests"]["weights"] == whole
    assert [segment["first_iteration"] for segment in record(taught_study, "none")["segments"]] == [0, 2]


def test_a_damaged_run_json_is_written_again_and_the_run_continues(
    taught_study: TinyStudy, at_batch: dict[int, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = stopped_after_two(taught_study, at_batch)
    before = read_json(folder / "run.json", "student")
    (folder / "run.json").write_text("[]")
    with (folder / "ledger.jsonl").open("ab") as stream:
        stream.write(b'[1, 2]\n{"event": "checkpoint", "unix": 1.0, "iteration": 2, "io_s": "soon"}\n')
    newest = max(folder.glob("checkpoint-*.json"))
    newest.with_name("checkpoint-000000099.json").write_text("[]")
    assert train(taught_study) == "finished"
    shown = capsys.readouterr().out
    assert "run.json: damaged or missing; written again from the ledger, and the run continues" in shown
    assert "ledger.jsonl: 2 lines are not events, first line" in shown
    assert "checkpoint-000000099.json: damaged (it has no SHA-256); an older checkpoint is used" in shown
    after, found = read_json(folder / "run.json", "student"), record(taught_study)
    assert {**after, "started_unix": 0} == {**before, "started_unix": 0}
    assert found["run_id"] == before["run_id"]
    assert [segment["iterations"] for segment in found["segments"]] == [2, 4]
    assert found["checkpoints"]["count"] == 2


def test_a_lost_run_json_of_other_inputs_starts_again(
    taught_study: TinyStudy, at_batch: dict[int, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = stopped_after_two(taught_study, at_batch)
    (folder / "run.json").unlink()
    taught_study.edit("methods.yaml", "temperature: 1.0", "temperature: 2.0")
    assert train(taught_study) == "finished"
    assert "the run starts again" in capsys.readouterr().out
    assert [segment["iterations"] for segment in record(taught_study)["segments"]] == [6]
    (aside,) = (folder / "superseded").iterdir()
    assert [path.name for path in aside.iterdir()] == ["ledger.jsonl"]


def test_a_new_plan_is_another_run(taught_study: TinyStudy) -> None:
    write_plan(taught_study)
    train(taught_study)
    first = record(taught_study)["run_id"]
    write_plan(taught_study, iterations=4)
    train(taught_study)
    assert record(taught_study)["run_id"] != first
    assert record(taught_study)["iterations"] == {"planned": 4, "done": 4}


def test_a_comment_in_params_changes_no_run(taught_study: TinyStudy, at_batch: dict[int, Any]) -> None:
    write_plan(taught_study)
    train(taught_study)
    taught_study.edit("methods.yaml", "\nkd:\n", "\n# logits only\nkd:\n")
    at_batch[0] = lambda: pytest.fail("it trains")
    assert train(taught_study) == "finished"


def test_divergence_is_published(taught_study: TinyStudy, at_batch: dict[int, Any]) -> None:
    write_plan(taught_study, iterations=30)
    taught_study.edit("training.yaml", "lr: 0.02\n    provenance", "lr: 1.0e+12\n    provenance")
    assert train(taught_study) == "diverged"
    found = record(taught_study)
    assert (found["status"], found["iterations"]["planned"]) == ("diverged", 30)
    assert found["iterations"]["done"] <= 20
    assert found["message"].startswith("loss is ")
    assert (taught_study.layout.student(CELL) / "weights.safetensors").is_file()
    (row,) = audit([CELL], taught_study.layout)
    assert "diverged" in row.marks
    at_batch[0] = lambda: pytest.fail("it trains")
    assert train(taught_study) == "diverged"


def test_a_teacher_that_diverges_is_published_too(prepared_study: TinyStudy) -> None:
    prepared_study.edit("training.yaml", "lr: 0.02\n    iterations: 6", "lr: 1.0e+30\n    iterations: 6")
    assert train_teacher(prepared_study.params, "streets", "small", prepared_study.layout) == "diverged"
    found = read_json(prepared_study.layout.teacher("streets", "small") / "record.json", "teacher")
    assert found["status"] == "diverged"
    target = Target.of_teacher(prepared_study.params, "streets", "small", prepared_study.layout)
    scores = evaluate_trained(target, torch.device("cpu"))
    assert scores.miou is None
    output = read_json(prepared_study.layout.teacher("streets", "small") / "scores.json", "evaluate")
    assert (output["status"], output["miou"]) == ("diverged", None)


def test_a_second_writer_is_refused_before_it_touches_anything(taught_study: TinyStudy) -> None:
    write_plan(taught_study)
    folder = taught_study.layout.student_run(CELL)
    program = (
        "import sys; from pathlib import Path; from isoclock.runner.lease import Lease\n"
        "with Lease(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(UserError, match="another process is writing this run"):
            train(taught_study)
        assert [path.name for path in folder.iterdir()] == ["lease"]
