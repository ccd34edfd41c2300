"""The steps of docs/own-dataset.md work as written: from a folder of PNG labels to a report, and a reader of one's own."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import miniatures
import numpy as np
import pytest
import yaml
from PIL import Image

from isoclock.cli.main import main
from isoclock.data.packing.packed import PackedSplit
from isoclock.data.readers.testing import check_reader
from isoclock.files import read_json
from isoclock.params.schema import Dataset
from tiny_study import TinyStudy
from whole_grid import run_grid

pytestmark = pytest.mark.filterwarnings("ignore:.*random weights")
PAGE = (Path(__file__).resolve().parents[3] / "docs" / "own-dataset.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)
ENTRY, COLOURS, LISTS, SHARE, RECIPE, BUDGETS, GRID, PAIR, GATE, TUNE, *_ = [
    text for language, text in BLOCKS if language == "yaml"
]
(READER,) = [text for language, text in BLOCKS if language == "python"]
SMALLER = {
    **{"batch: 8 ": "batch: 2 ", "crop: [256, 256]": "crop: [32, 32]", "precision: bf16": "precision: fp32"},
    **{"threads: 4": "threads: 1", "workers: 8": "workers: 0", "evaluations: 4": "evaluations: 1"},
    **{"iterations: 20000": "iterations: 2", "iterations: 10000": "iterations: 2", "study: true": "study: false"},
    **{"[r101-r18]": "[tiny]", "[none, kd, cwd]": "[none, kd]", "[0, 1, 2]": "[0]"},
}
"""What this test changes on the page, so that a cell takes a second."""


def smaller(text: str) -> str:
    for old, new in SMALLER.items():
        text = text.replace(old, new)
    return text


@pytest.fixture
def study(empty_study: TinyStudy, monkeypatch: pytest.MonkeyPatch) -> Iterator[TinyStudy]:
    """A study with the page's raw files and entry, as working directory."""
    miniatures.meadow(empty_study.folder / "data/meadow")
    monkeypatch.chdir(empty_study.folder)
    add("datasets.yaml", ENTRY)
    yield empty_study
    for module in [name for name in sys.modules if name.startswith("isoclock.plugins.")]:
        del sys.modules[module]


def add(file: str, text: str) -> None:
    path = Path("params") / file
    path.write_text((path.read_text() if path.exists() else "") + text)


def test_the_page_leads_from_a_folder_to_a_report(study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    assert all(any(old in text for text in (RECIPE, BUDGETS, GRID)) for old in SMALLER), "the page has what is changed"
    assert main(["prepare", "meadow"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("next: ")]
    assert line == "next: add a recipe `meadow` to params/training.yaml (docs/own-dataset.md has one to copy)"
    add("training.yaml", smaller(RECIPE))
    add("budgets.yaml", smaller(BUDGETS))
    add("grids/meadow.yaml", smaller(GRID))
    assert main(["check", "--grid", "meadow"]) == 0
    assert main(["plan", "--dry", "--grid", "meadow"]) == 0
    assert run_grid("meadow")[-1] == "report"
    assert main(["report", "--grid", "meadow", "--table-only"]) == 0
    output = capsys.readouterr().out
    assert "next: isoclock check --grid meadow, then snakemake" in output
    assert "results/report/meadow/report.html" in output
    page = Path("results/report/meadow/report.html").read_text()
    assert all(name in page for name in ("grass", "water", "path"))
    cell = "meadow/tiny/kd/compute-10k/0"
    assert read_json(Path(f"results/student/{cell}/record.json"), "student")["iterations"]["done"] > 0
    scores = read_json(Path(f"results/evaluate/{cell}/scores.json"), "evaluate")
    assert (set(scores["per_class_iou"]), scores["images"]) == ({"grass", "water", "path"}, 2)


def test_weights_are_tuned_as_the_page_says(study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a data set with a split of its own, and of one with `val_share`."""
    for file, text in (("training", RECIPE), ("budgets", BUDGETS), ("grids/meadow", GRID + TUNE)):
        add(f"{file}.yaml", smaller(text))
    assert main(["plan", "--dry", "--grid", "meadow.sweep"]) == 0
    assert main(["tune", "meadow"]) == 2
    assert "grid meadow.sweep: 10 of 10 cells are not scored" in capsys.readouterr().err
    assert main(["prepare", "meadow.held-out-0.25-seed-0"]) == 0
    masks = ENTRY.replace("meadow:", "shared:").replace("{split}/*.jpg", "train/*.jpg").replace("{split}", "train")
    add("datasets.yaml", masks.replace("    void:", "    val_share: 0.25\n    void:"))
    assert main(["prepare", "shared.held-out-0.4-seed-0"]) == 0
    images = {
        name: [len(PackedSplit(Path("results/data") / name, split)) for split in ("train", "val")]
        for name in ("meadow.held-out-0.25-seed-0", "shared.held-out-0.4-seed-0")
    }
    assert list(images.values()) == [[3, 1], [2, 1]]


@pytest.mark.parametrize("part", [COLOURS, LISTS, SHARE], ids=["colours", "lists", "share"])
def test_the_pages_other_entries_are_valid(part: str) -> None:
    whole = yaml.safe_load(ENTRY)["meadow"]
    change = yaml.safe_load(part)
    folder = {**whole["folder"], **change}
    found = Dataset.model_validate(whole | {"folder": folder}).folder
    assert found is not None
    assert set(change) <= found.model_fields_set


def test_the_pages_reader_reads_the_same(study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    Path("plugins/readers").mkdir(parents=True)
    Path("plugins/readers/meadows.py").write_text(READER)
    entry, _, rest = ENTRY.partition("  folder:\n")
    add(
        "datasets.yaml",
        f"{entry.replace('meadow:', 'meadows:').replace('folder', 'meadows')}{rest[rest.index('  prov') :]}",
    )
    assert main(["prepare", "meadows"]) == 2
    assert "label values 4, which meadows does not have" in capsys.readouterr().err
    assert not Path("results/data/meadows").exists()
    for path in Path("data/meadow/masks").rglob("*.png"):
        values = np.asarray(Image.open(path))
        path.write_bytes(miniatures.png(np.where(values == 4, 1, values).astype(np.uint8)))
    check_reader("meadows", "data/meadow", ("train", "val"))
    for name in ("meadow", "meadows"):
        assert main(["prepare", name]) == 0
    splits = [PackedSplit(Path("results/data") / name, "train") for name in ("meadow", "meadows")]
    assert splits[0].digests == splits[1].digests
    assert len(splits[1]) == 4
