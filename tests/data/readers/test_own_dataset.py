"""The steps of docs/own-dataset.md for a new data set work as written."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from isoclock.data.packing.packed import PackedSplit
from isoclock.files import read_json
from tiny_study import FILES, TinyStudy

ROOT = Path(__file__).resolve().parents[3]
SHOWN = dict(re.findall(r"```(python|yaml)\n(.*?)```", (ROOT / "docs" / "own-dataset.md").read_text(), re.DOTALL)[:2])


@pytest.fixture
def clone(empty_study: TinyStudy) -> Path:
    """A study with its own copy of the source, the page's reader and entry, and raw files as the page describes them."""
    folder = empty_study.folder
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    (folder / "src/isoclock/data/readers/meadow.py").write_text(SHOWN["python"])
    with (folder / "params/datasets.yaml").open("a") as entries:
        entries.write(SHOWN["yaml"])
    random = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for kind in ("images", "masks"):
            (folder / "data/meadow" / kind / split).mkdir(parents=True)
        for number in range(count):
            size = 40 + number, 60
            Image.fromarray(random.integers(0, 256, (*size, 3), np.uint8)).save(
                folder / f"data/meadow/images/{split}/{number}.jpg"
            )
            label = random.choice(np.array([0, 1, 2, 255], np.uint8), size)
            Image.fromarray(label).save(folder / f"data/meadow/masks/{split}/{number}.png")
    return folder


def isoclock(clone: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(clone / "src")}
    command = [sys.executable, "-m", "isoclock", *arguments]
    return subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, check=False)


def test_one_file_and_one_entry_are_enough(clone: Path) -> None:
    done = isoclock(clone, "prepare", "meadow")
    assert done.returncode == 0, done.stderr
    index = read_json(clone / "results/data/meadow/index.json", "prepare")
    assert index["classes"] == ["grass", "water", "path"]
    split = PackedSplit(clone / "results/data/meadow", "train")
    assert (len(split), split.sizes[0], split.sizes[3]) == (4, (40, 60), (43, 60))
    raw = np.asarray(Image.open(clone / "data/meadow/masks/train/2.png"))
    np.testing.assert_array_equal(split.label(2), raw)

    # A recipe copied from another data set is enough to train and evaluate.
    recipe = FILES["training.yaml"].replace("streets:", "meadow:").replace("iterations: 6", "iterations: 2")
    with (clone / "params/training.yaml").open("a") as recipes:
        recipes.write(recipe)
    for verb in (("teacher", "meadow", "small"), ("evaluate", "meadow/small")):
        done = isoclock(clone, *verb)
        assert done.returncode == 0, done.stderr
    folder = clone / "results/teacher/meadow/small"
    record, scores = (read_json(folder / name, "teacher") for name in ("record.json", "scores.json"))
    assert (record["status"], record["iterations"]) == ("finished", {"planned": 2, "done": 2})
    assert record["params"]["classes"] == ["grass", "water", "path"]
    assert set(scores["per_class_iou"]) == {"grass", "water", "path"}
    assert scores["images"] == 2


def test_an_unknown_label_value_is_reported_with_its_file(clone: Path) -> None:
    path = clone / "data/meadow/masks/val/1.png"
    Image.fromarray(np.full((41, 60), 7, np.uint8)).save(path)
    done = isoclock(clone, "prepare", "meadow")
    assert done.returncode == 2
    assert "1.png: label values 7, which meadow does not have" in done.stderr
    assert not (clone / "results").exists() or not (clone / "results/data/meadow").exists()
