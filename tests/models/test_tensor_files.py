"""Tensors of a weights file are read, objects in its `meta` are skipped, and no code in it runs."""

from __future__ import annotations

from collections import OrderedDict
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from isoclock.errors import ArtifactError
from isoclock.models.tensor_files import read_tensors

TENSORS = {"a.weight": torch.arange(3.0), "a.num_batches_tracked": torch.tensor(2)}


class Runs:
    """Would create a file if a weights file were allowed to run code."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return Path.touch, (self.trace,)


class Calls:
    def __reduce__(self) -> Any:
        return print, ("this code ran",)


@pytest.mark.parametrize("zipped", [True, False])
def test_meta_of_mmcv_is_skipped(zipped: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    meta = {
        "CLASSES": ("road", "sky"),
        "best_score": np.float64(79.8),
        "history": np.arange(4.0),
        "fraction": Fraction(1, 3),
        "lists": OrderedDict(calls=Calls()),
    }
    path = tmp_path / "mmcv.pth"
    torch.save({"meta": meta, "state_dict": TENSORS}, path, _use_new_zipfile_serialization=zipped)
    found = read_tensors(path)
    assert found.classes == ("road", "sky")
    assert list(found.tensors) == list(TENSORS)
    assert torch.equal(found.tensors["a.weight"], TENSORS["a.weight"])
    assert "this code ran" not in capsys.readouterr().out


def test_classes_of_mmengine(tmp_path: Path) -> None:
    path = tmp_path / "mmengine.pth"
    torch.save({"meta": {"dataset_meta": {"classes": ["road"]}}, "state_dict": TENSORS}, path)
    assert read_tensors(path).classes == ("road",)
    torch.save({"meta": {"dataset_meta": {"classes": [1]}}, "state_dict": TENSORS}, path)
    assert read_tensors(path).classes is None


def test_an_object_among_the_tensors_is_refused(tmp_path: Path) -> None:
    path, trace = tmp_path / "evil.pth", tmp_path / "trace"
    for content in ({"a": Runs(trace)}, {"state_dict": TENSORS | {"b": Fraction(1, 2)}}, Runs(trace)):
        torch.save(content, path)
        with pytest.raises(ArtifactError, match="contains"):
            read_tensors(path)
    assert not trace.exists()


def test_a_file_without_tensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "numbers.pth"
    torch.save({"state_dict": {"a": 1}}, path)
    with pytest.raises(ArtifactError, match="contains no tensors"):
        read_tensors(path)
