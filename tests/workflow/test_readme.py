"""What the README shows is there and works."""

from __future__ import annotations

import re

import pytest
from clone import ROOT, Clone

from isoclock.cli.main import _parser

README = (ROOT / "README.md").read_text(encoding="utf-8")

TRY = """
import torch
from isoclock.methods import build_method
from isoclock.methods.contract import Batch
from isoclock.models.outputs import ChannelSpec, SegmenterOutput
spec = ChannelSpec(backbone=4, head=3)
method = build_method("pixel_l1", student=spec, teacher=spec, num_classes=5, dataset_size=2)
student, teacher = (SegmenterOutput(torch.full((2, 5, 4, 4), value), None, {}) for value in (1.0, 3.0))
batch = Batch(torch.zeros(2, 32, 32, dtype=torch.long), torch.arange(2), torch.ones(2, dtype=torch.bool))
assert method(student, teacher, batch) == {"pixel_l1": torch.tensor(2.0)}
"""


def test_the_method_of_the_readme_works_with_one_file_and_one_entry(fresh: Clone) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (entry,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    (fresh.folder / "src/isoclock/methods/pixel_l1.py").write_text(code)
    methods = fresh.folder / "params/methods.yaml"
    methods.write_text(methods.read_text() + entry)
    fresh.run("python", "-c", TRY)
    assert "logit L1" in fresh.run("isoclock", "methods")
    grid = fresh.folder / "params/grids/demo.yaml"
    grid.write_text(grid.read_text().replace("none, kd", "pixel-l1, kd"))
    output = fresh.snakemake("--dry-run", "--config", "method=pixel-l1", "--", "students")
    assert re.search(r"^student +1$", output, re.MULTILINE)


def test_make_targets_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    shown = set(re.findall(r"(?:`|^)make ([a-z-]+)", README, re.MULTILINE))
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


def test_files_that_are_named_are_there() -> None:
    for name in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / name).exists(), name
