"""From a checkpoint of mmsegmentation and a folder of PNGs to a report: a user writes YAML and no Python.

The network is tiny, its weights are random, and its file is as mmsegmentation writes one. The entries of teacher and pair are
those of docs/import.md and docs/own-dataset.md.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent, indent

import numpy as np
import pytest
import torch
from clone import Clone
from PIL import Image
from safetensors.torch import load_file

from isoclock.cli.main import main
from isoclock.files import read_json, sha256_file
from isoclock.models import build_segmenter
from tiny_study import TinyStudy, edit
from whole_grid import run_grid

DOCS = Path(__file__).resolve().parents[2] / "docs"
BLOCK, *_ = re.findall(r"```yaml\n(.*?)```", (DOCS / "import.md").read_text(), re.DOTALL)
MODEL = indent(dedent(BLOCK), "  ")
(PAIR,) = re.findall(r"```yaml\n(  mine-r18:\n.*?)```", (DOCS / "own-dataset.md").read_text(), re.DOTALL)
(GATE,) = re.findall(r"```yaml\n(teacher_miou_at_least:\n.*?)```", (DOCS / "own-dataset.md").read_text(), re.DOTALL)
PARAMS = {"encoder": "tu-test_resnet", "dilation": "mmsegmentation", "head_channels": 24, "aux_channels": 8}
SMALLER = {
    **{"encoder: tu-resnet101": "encoder: tu-test_resnet", "      stem: deep\n": "", "head_channels: 512": "head_channels: 24"},
    **{"aux_channels: 256": "aux_channels: 8", "psp-r18": "tiny\n    profile: demo", "0.7}": "0.0}"},
}  # fmt: skip
THEIRS = ("path", "grass", "water")  # order of the classes in the checkpoint
DATASET = """\
meadow:
  reader: folder
  root: data/meadow
  train: train
  val: val
  recipe: streets
  folder:
    images: images/{split}/*.png
    labels: masks/{split}/*.png
    classes: {grass: 0, water: [1, 4], path: 2}
    void: 255
  provenance: {"*": ours}
"""
GRID = """\
about: A student of an imported teacher.
study: false
blocks:
  - datasets: [meadow]
    pairs: [mine-r18]
    methods: [kd]
    budgets: [iteration-6]
    seeds: [0]
"""
NAMES = (
    (r"encoder\.model\.conv1\.", "backbone.stem."),
    (r"encoder\.model\.bn1\.", "backbone.stem.7."),
    (r"encoder\.model\.", "backbone."),
    (r"pyramid\.(\d)\.1\.", r"decode_head.psp_modules.\1.1.conv."),
    (r"pyramid\.(\d)\.2\.", r"decode_head.psp_modules.\1.1.bn."),
    (r"bottleneck\.0\.", "decode_head.bottleneck.conv."),
    (r"bottleneck\.1\.", "decode_head.bottleneck.bn."),
    (r"classifier\.1\.", "decode_head.conv_seg."),
    (r"auxiliary\.0\.", "auxiliary_head.convs.0.conv."),
    (r"auxiliary\.1\.", "auxiliary_head.convs.0.bn."),
    (r"auxiliary\.4\.", "auxiliary_head.conv_seg."),
)
"""Our names of tensors and mmsegmentation's."""


def theirs(name: str) -> str:
    """Mmsegmentation's name of a tensor."""
    return next(re.sub(rf"^{ours}", new, name) for ours, new in NAMES if re.match(ours, name))


def bring_files(folder: Path) -> Path:
    """What a user has: a trained network and images with labels. Returns the path of the former."""
    torch.manual_seed(3)
    state = build_segmenter("pspnet", len(THEIRS), **PARAMS).state_dict()
    path = folder / "weights/pspnet.pth"
    path.parent.mkdir()
    torch.save(
        {
            "meta": {"CLASSES": THEIRS, "PALETTE": None, "epoch": 80},
            "state_dict": {theirs(name): value for name, value in state.items()},
            "optimizer": {"state": {}, "param_groups": []},
        },
        path,
    )
    draw = np.random.default_rng(5)
    for split, count in (("train", 4), ("val", 2)):
        for number in range(count):
            pixels = {"images": draw.integers(0, 256, (48, 64, 3)), "masks": draw.choice([0, 1, 2, 4, 255], (48, 64))}
            for kind, values in pixels.items():
                image = folder / "data/meadow" / kind / split / f"{number}.png"
                image.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(values.astype(np.uint8)).save(image)
    return path


def write_yaml(params: Path, run: Callable[..., str]) -> None:
    """Data set, teacher, pair and grid; the teacher's entry with the lines that `isoclock import` prints."""
    model, pair, gate = MODEL, PAIR, GATE
    for old, new in SMALLER.items():
        assert old in model + pair + gate, old
        model, pair, gate = (text.replace(old, new) for text in (model, pair, gate))
    models = params / "models.yaml"
    models.write_text(models.read_text().replace("pairs:\n", f"{model}pairs:\n") + pair)
    with (params / "datasets.yaml").open("a") as file:
        file.write(DATASET)
    (params / "grids/meadow.yaml").write_text(GRID + gate)
    printed = run("import", "my-teacher", "weights/pspnet.pth")
    assert "format mmsegmentation" in printed
    assert "not used: none" in printed
    lines = printed[printed.index("    checkpoint:\n") :].replace("(where the file is from)", "a colleague")
    edit(models, model, model.replace("    weights: random\n", lines.replace("(of the weights)", "MIT")))


def check_results(folder: Path, source: Path) -> None:
    """An imported, scored teacher, a student that learned from it, and a report about both."""
    results = folder / "results"
    record = read_json(results / "teacher/meadow/my-teacher/record.json", "teacher")
    assert record["imported"] == {
        "path": "weights/pspnet.pth", "format": "mmsegmentation", "sha256": sha256_file(source), "source": "a colleague",
        "licence": "MIT", "classes": list(THEIRS), "unused": [],
    }  # fmt: skip
    given = torch.load(source)["state_dict"]
    used = load_file(results / "teacher/meadow/my-teacher/weights.safetensors")
    assert torch.equal(used["encoder.model.layer3.0.conv1.weight"], given["backbone.layer3.0.conv1.weight"])
    in_our_order = given["decode_head.conv_seg.weight"][[1, 2, 0]]  # grass, water, path
    assert torch.equal(used["classifier.1.weight"], in_our_order)
    scores = read_json(results / "teacher/meadow/my-teacher/scores.json", "evaluate")
    assert set(scores["per_class_iou"]) == set(THEIRS)
    student = read_json(results / "student/meadow/mine-r18/kd/iteration-6/0/record.json", "student")
    assert (student["status"], student["iterations"]["done"]) == ("finished", 6)
    assert student["digests"]["teacher"] == record["digests"]["weights"]
    report = results / "report/meadow"
    with (report / "cells.csv").open() as stream:
        (row,) = csv.DictReader(stream)
    assert float(row["teacher_miou"]) == pytest.approx(scores["miou"], abs=1e-4)
    assert "grass" in (report / "report.html").read_text()


@pytest.mark.filterwarnings("ignore:.*random weights")
def test_the_verbs_in_order(
    empty_study: TinyStudy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(empty_study.folder)
    source = bring_files(empty_study.folder)

    def run(*arguments: str) -> str:
        assert main(list(arguments)) == 0
        return capsys.readouterr().out

    write_yaml(empty_study.folder / "params", run)
    run("check", "--grid", "meadow")
    assert run_grid("meadow") == [
        "prepare", "teacher", "evaluate_teacher", "teacher_gate", "profile", "budget", "plan", "student", "evaluate", "report",
    ]  # fmt: skip
    check_results(empty_study.folder, source)


@pytest.mark.slow
@pytest.mark.test_all
@pytest.mark.xdist_group("workflow")
@pytest.mark.timeout(600)
def test_snakemake(fresh: Clone) -> None:
    """Below the score that the grid demands, nothing is measured; above it, what is made once is not made again."""
    source, grid = bring_files(fresh.folder), ("--config", "grid=meadow", "--", "all")
    write_yaml(fresh.folder / "params", lambda *arguments: fresh.run("isoclock", *arguments))
    edit(fresh.folder / "params/grids/meadow.yaml", "0.0}", "0.99}")
    output = fresh.snakemake(*grid, status=1)
    assert re.search(r"my-teacher: mIoU 0\.\d+, and grid meadow demands at least 0\.99 of pair mine-r18", output)
    assert not list((fresh.folder / "results").glob("profile/meadow"))
    edit(fresh.folder / "params/grids/meadow.yaml", "0.99}", "0.0}")
    fresh.snakemake(*grid)
    check_results(fresh.folder, source)
    assert "Nothing to be done" in fresh.snakemake("--dry-run", *grid)
    before = fresh.students()
    (fresh.folder / "results/gate/meadow/meadow/mine-r18.done").unlink()
    output = fresh.snakemake(*grid)
    made = set(re.findall(r"^(?:local)?(?:rule|checkpoint) (\w+):$", output, re.MULTILINE))
    assert made <= {"teacher_gate", "all"}, made
    assert fresh.students() == before
