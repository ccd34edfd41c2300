"""What the README shows is there and works."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from clone import ROOT, Clone

from isoclock.cli.main import _parser

README = (ROOT / "README.md").read_text(encoding="utf-8")

BY_HAND = """
import torch
from isoclock.methods import build_method
from isoclock.methods.contract import Batch
from isoclock.models.outputs import ChannelSpec, SegmenterOutput

def test_by_hand():
    spec = ChannelSpec(backbone=4, head=3)
    method = build_method("pixel_l1", student=spec, teacher=spec, num_classes=5, dataset_size=2)
    student, teacher = (SegmenterOutput(torch.full((2, 5, 4, 4), value), None, {}) for value in (1.0, 3.0))
    batch = Batch(torch.zeros(2, 32, 32, dtype=torch.long), torch.arange(2), torch.ones(2, dtype=torch.bool))
    assert method(student, teacher, batch) == {"pixel_l1": torch.tensor(2.0)}
"""
PYTEST = ("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly")


def add_the_method(folder: Path) -> None:
    """What the README says: one file, one entry, and the lines of its test."""
    (section,) = re.findall(r"^## Add a method$(.*?)^## ", README, re.DOTALL | re.MULTILINE)
    code, test = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    (entry,) = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    (folder / "src/isoclock/methods/pixel_l1.py").write_text(code)
    methods = folder / "params/methods.yaml"
    methods.write_text(f"{methods.read_text()}\n{entry}")
    (folder / "tests/methods").mkdir(parents=True, exist_ok=True)
    (folder / "tests/methods/test_pixel_l1.py").write_text(test + BY_HAND)


def test_the_method_of_the_readme_works_with_one_file_and_one_entry(fresh: Clone) -> None:
    add_the_method(fresh.folder)
    assert re.search(r"^2\d passed", fresh.run(*PYTEST, "tests/methods/test_pixel_l1.py"), re.MULTILINE)
    assert "logit L1" in fresh.run("isoclock", "methods")
    grid = fresh.folder / "params/grids/demo.yaml"
    grid.write_text(grid.read_text().replace("none, kd", "pixel-l1, kd"))
    output = fresh.snakemake("--dry-run", "--config", "method=pixel-l1", "--", "students")
    assert re.search(r"^student +1$", output, re.MULTILINE)


@pytest.mark.test_all
def test_the_method_of_the_readme_passes_this_repositorys_tests(tmp_path: Path) -> None:
    """In a copy of the repository, after `make docs`; counting operators takes minutes and is left out."""
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    for name in filter(None, names):
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target, follow_symlinks=False)
    add_the_method(tmp_path)
    copy = Clone(tmp_path)
    copy.run("python", "docs/build_methods.py")
    affected = ("test_card", "test_independence", "test_method_discovery", "test_pay_for_use", "test_pixel_l1")
    copy.run(
        *(*PYTEST, "tests/docs/test_methods_doc.py", "tests/workflow/test_paper_grids.py", "-k", "not all_the_way"),
        *(f"tests/methods/{name}.py" for name in affected),
        "tests/workflow/test_all_methods.py::test_the_grid_lists_every_entry_of_a_published_method_in_all_implementations",
    )


def test_make_targets_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    pages = README + (ROOT / "docs/implementations.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"(?:`|^)make ([a-z-]+)", pages, re.MULTILINE))
    assert {"demo", "test", "test-slurm", "bench-methods"} <= shown
    for target in shown:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    (listed,) = re.findall(r"^# Every target .*?\. make (.*)$", makefile, re.MULTILINE)
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert sorted(listed.split(" | ")) == sorted(phony.split())


@pytest.mark.parametrize("verb", sorted(set(re.findall(r"`isoclock ([a-z]+)", README)) - {"VERB"}))
def test_verbs_are_there(verb: str) -> None:
    with pytest.raises(SystemExit) as ended:
        _parser().parse_args([verb, "--help"])
    assert ended.value.code == 0


def test_the_mistake_of_the_readme_is_reported(fresh: Clone) -> None:
    (said,) = re.findall(r"^isoclock: params/methods.yaml: .*$", README, re.MULTILINE)
    methods = fresh.folder / "params/methods.yaml"
    methods.write_text(methods.read_text().replace("params: {temperature: 1.0}", "params: {temperature: -1.0}"))
    assert said in fresh.run("isoclock", "check", status=2)


def test_it_is_short() -> None:
    lines = README.splitlines()
    assert len(lines) <= 150
    assert [line for line in lines if len(line) > 100] == []


def test_files_that_are_named_are_there() -> None:
    for name in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / name).exists(), name
