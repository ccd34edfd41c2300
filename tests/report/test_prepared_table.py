"""The tables with which `isoclock prepare` ends."""

from __future__ import annotations

import pytest

import documents
from isoclock.files import write_json
from isoclock.records.index import Index
from isoclock.report.prepared_table import MAX_CLASSES, print_prepared
from tiny_study import TinyStudy, add_avenues
from tuned_study import HELD_OUT, add_tuned_grid


def printed(index: Index, study: TinyStudy, capsys: pytest.CaptureFixture[str], *notes: str) -> list[str]:
    folder = study.layout.prepared(index.dataset)
    for split, sizes in (("train", [[40, 60], [41, 60]]), ("val", [[40, 60]] * 2)):
        samples = {"names": ["a", "b"], "sizes": sizes, "labelled": [True, split == "val"], "image_bytes": [1, 1]}
        write_json(folder / index.splits[split].files["samples"].file, samples)
    print_prepared(index, folder, study.params, notes)
    return capsys.readouterr().out.splitlines()


def row(lines: list[str], first: str) -> str:
    (line,) = [line for line in lines if line.split()[:1] == [first]]
    return " ".join(line.split()[1:])


def test_images_sizes_shares_and_what_was_left_out(empty_study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    index = documents.index(verification={"left_out": {"a_1": "broken [as published]"}})
    unused = "data: files that are not used, in the folders of the data set: 1 *.txt (a.txt)"
    lines = printed(index, empty_study, capsys, unused, "something else")
    assert row(lines, "train") == "2 1 40..41 x 60 16.67 %"
    assert row(lines, "val") == "2 2 40 x 60 16.67 %"
    assert row(lines, documents.CLASSES[0]) == "66.67 % 2 66.67 % 2"
    assert row(lines, documents.CLASSES[2]) == "0 0 0 0"
    assert "left out: a_1: broken [as published]" in lines
    assert f"left out: {unused}" in lines
    assert not any("something else" in line for line in lines)


def test_the_next_step_depends_on_params(empty_study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    def last(dataset: str) -> str:
        return printed(documents.index(dataset), empty_study, capsys)[-1]

    assert last("avenues") == (
        "next: add a recipe `avenues` to params/training.yaml (docs/own-dataset.md has one to copy)"
    )
    assert last("streets") == (
        "next: isoclock check --grid toy, then snakemake --profile workflow/profiles/local --config grid=toy -- all"
    )
    add_avenues(empty_study.folder / "params")
    for name in ("both", "avenues"):
        (empty_study.folder / "params" / "grids" / f"{name}.yaml").unlink()
    assert last("avenues").startswith("next: list avenues under `datasets` of a grid in params/grids")
    add_tuned_grid(empty_study.folder / "params")
    assert last(HELD_OUT).startswith("next: isoclock check --grid weighed.sweep, then snakemake ")


def test_a_recipe_may_be_another_data_sets(empty_study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    add_avenues(empty_study.folder / "params")
    empty_study.edit("datasets.yaml", "teacher_from: streets\n", "recipe: streets\n")
    text = (path := empty_study.folder / "params" / "training.yaml").read_text()
    path.write_text(text[: text.index("avenues:")])
    step = "next: isoclock check --grid avenues, then"
    assert printed(documents.index("avenues"), empty_study, capsys)[-1].startswith(step)


def test_of_many_classes_the_ends_are_shown(empty_study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    count = 3 * MAX_CLASSES
    names = [f"class{k}" for k in range(count)]
    splits = {
        split: {
            "class_pixels": list(range(count)),
            "class_images": [1] * count,
            "class_frequency": [2 * k / (count * (count - 1)) for k in range(count)],
        }
        for split in ("train", "val")
    }
    index = documents.index(classes=names, palette=[[k, 0, 0] for k in range(count)], splits=splits)
    shown = [line.split()[0] for line in printed(index, empty_study, capsys) if line.strip().startswith("class")]
    half = MAX_CLASSES // 2
    assert shown[1:] == [f"class{k}" for k in (*range(count - 1, count - 1 - half, -1), *range(half - 1, -1, -1))]
