"""A report is recomputed from confusion matrices and ledgers, in the study and in an archive without weights and images."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from isoclock.cli.main import main
from tiny_study import TinyStudy
from whole_grid import run_grid

GRID = """\
about: Two methods.
study: false
blocks:
  - datasets: [streets]
    pairs: [tiny]
    methods: [none, kd]
    budgets: [iteration-6]
    seeds: [0]
"""
RECORD = "results/student/streets/tiny/kd/iteration-6/0/record.json"
SCORES = "results/evaluate/streets/tiny/kd/iteration-6/0/scores.json"
CONFUSION = "results/evaluate/streets/tiny/kd/iteration-6/0/confusion.npz"
LEDGER = "results/student/streets/tiny/kd/iteration-6/0/ledger.jsonl"


@pytest.fixture(scope="module")
def _reported(_taught: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verify") / "study"
    shutil.copytree(_taught, folder)
    (folder / "params/grids/two.yaml").write_text(GRID)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_grid("two")
    return folder


@pytest.fixture
def study(_reported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TinyStudy:
    """A study with the report of grid `two`, as working directory."""
    shutil.copytree(_reported, tmp_path / "study")
    monkeypatch.chdir(tmp_path / "study")
    return TinyStudy(tmp_path / "study")


def verified(capsys: pytest.CaptureFixture[str], *archive: str) -> list[str]:
    """The problems that are found; none if all is as computed."""
    capsys.readouterr()
    status = main(["report", "--grid", "two", "--verify", *archive])
    lines = capsys.readouterr().err.splitlines()
    assert status == (2 if lines else 0)
    return [line.removeprefix("isoclock: ") for line in lines]


def change_json(name: str, change: Callable[[dict], None]) -> None:
    content = json.loads(Path(name).read_text())
    change(content)
    Path(name).write_text(json.dumps(content))


def test_a_report_as_it_was_made(study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--grid", "two", "--verify"]) == 0
    assert capsys.readouterr().out.startswith("grid two: 3 records, 3 scores and ")


def test_a_changed_score_is_named(study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    change_json(SCORES, lambda scores: scores.update(miou=0.987))
    lines = verified(capsys)
    assert lines[0].startswith(f"{SCORES}: miou: 0.987: 0.")
    assert any(line.startswith("results/report/two/comparison.csv: line 3 is ") for line in lines)
    assert any(line.startswith("results/report/two/report.html: shows ") for line in lines)


def test_a_changed_matrix_is_named(study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    arrays = dict(np.load(CONFUSION))
    arrays["per_image"][0, 0, 0] += 1
    np.savez_compressed(CONFUSION, **arrays)
    assert verified(capsys)[0].startswith(f"{CONFUSION}: the matrices of its images do not add up to the total")


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (lambda record: record["clock"].update(lost_s=5.0), "clock.lost_s: 5.0: 0.0 by ledger.jsonl"),
        (lambda record: record["clock"].update(train_s=99.0), "clock.train_s: 99.0: its segments add up to "),
        (lambda record: record["segments"][0].update(anchor_steps=1.5), "segments[0].anchor_steps: 1.5: "),
        (lambda record: record["segments"][0]["anchors"][0].__setitem__(1, 9.0), "segments[0].anchors: 9.0: not measured"),
        (lambda record: record.update(run_id="other"), "run_id: other: "),
    ],
)  # fmt: skip
def test_a_changed_record_is_named(
    study: TinyStudy, capsys: pytest.CaptureFixture[str], change: Callable[[dict], None], key: str
) -> None:
    change_json(RECORD, change)
    assert any(line.startswith(f"{RECORD}: {key}") for line in verified(capsys))


def test_a_changed_table_is_named(study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    table, page = Path("results/report/two/comparison.md"), Path("results/report/two/report.html")
    table.write_text(table.read_text().replace("1 of 1", "5 of 5"))
    page.write_text(page.read_text().replace("<td>1 of 1", "<td>5 of 5").replace(">1 of 1<", ">5 of 5<"))
    first, second = verified(capsys)
    assert first.startswith("results/report/two/comparison.md: line ")
    assert second.startswith("results/report/two/report.html: shows '5 of 5' where '1 of 1' is computed")


def test_a_lost_ledger_is_named(study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    Path(LEDGER).unlink()
    assert verified(capsys) == [f"{LEDGER}: not there, or empty; copy it to the record"]


def test_an_archive_is_verified_elsewhere_without_weights_and_images(
    study: TinyStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bundle", "two"]) == 0
    assert "verify it with: isoclock report --verify two.tar.gz" in capsys.readouterr().out
    first = Path("two.tar.gz").read_bytes()
    assert main(["bundle", "two", "--out", str(tmp_path / "again.tar.gz")]) == 0
    assert (tmp_path / "again.tar.gz").read_bytes() == first, "equal results give equal bytes"
    with tarfile.open("two.tar.gz") as archive:
        names = archive.getnames()
    assert {RECORD, LEDGER, SCORES, CONFUSION, "params/models.yaml", "MANIFEST.json"} <= set(names)
    assert not [name for name in names if name.endswith((".safetensors", "validation.npz")) or "overlays" in name]
    assert not [name for name in names if name.startswith("results/data")]
    monkeypatch.chdir(tmp_path)
    shutil.rmtree(study.folder)
    assert verified(capsys, "again.tar.gz") == []


@pytest.mark.parametrize("damage", ["changed", "missing", "further", "cut"])
def test_a_damaged_archive_is_named(
    study: TinyStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    assert main(["bundle", "two"]) == 0
    archive, root = Path("two.tar.gz"), tmp_path / "root"
    if damage == "cut":
        archive.write_bytes(archive.read_bytes()[:5000])
        (line,) = verified(capsys, "two.tar.gz")
        assert line.startswith("two.tar.gz: cannot be read (")
        return
    with tarfile.open(archive) as packed:
        packed.extractall(root, filter="data")
    if damage == "changed":
        (root / RECORD).write_text((root / RECORD).read_text() + "\n")
    elif damage == "missing":
        (root / RECORD).unlink()
    else:
        (root / "further.txt").write_text("")
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(root, ".")
    (line,) = verified(capsys, "two.tar.gz")
    name = "further.txt" if damage == "further" else RECORD
    assert line.startswith(f"two.tar.gz: {name}: ")


def test_nothing_to_bundle(
    empty_study: TinyStudy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(empty_study.folder)
    assert main(["bundle", "toy"]) == 2
    assert "no cell is trained yet, so there is nothing to bundle" in capsys.readouterr().err
    assert not Path("toy.tar.gz").exists()
