"""The losses are a library of their own: light to import, found by file."""

import subprocess
import sys

import pytest

import isoclock.methods
from isoclock.errors import ParamsError
from isoclock.methods import ChannelSpec, available, build_method

SPECS = {"student": ChannelSpec(8, 8), "teacher": ChannelSpec(8, 8), "num_classes": 3, "dataset_size": 1}


def imported_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_names_and_checks_import_no_torch() -> None:
    loaded = imported_by(
        "import isoclock.methods as m, isoclock.models\nm.available()\nm.card('kd').problems({'temperature': 2})"
    )
    assert not loaded & {"torch", "numpy"}


def test_a_loss_brings_torch_but_no_other_tool() -> None:
    loaded = imported_by("from isoclock.methods import CWD")
    assert "torch" in loaded
    assert not loaded & {"mlflow", "snakemake", "dvc", "albumentations", "segmentation_models_pytorch", "timm"}


def test_every_file_is_a_method_by_being_there() -> None:
    assert {"cwd", "fitnet", "kd", "mgd", "none"} <= set(available())
    assert not set(available()) & {"contract", "card", "labels", "projector"}


def test_classes_can_be_imported_from_the_package() -> None:
    from isoclock.methods import CWD, KD

    assert KD(**SPECS).settings["temperature"] == 1.0
    assert CWD(**SPECS, tap="head").needs() == {"head"}
    assert "MGD" in dir(isoclock.methods)
    with pytest.raises(AttributeError, match="NoSuchLoss"):
        _ = isoclock.methods.NoSuchLoss


def test_an_implementation_that_is_not_there_is_refused() -> None:
    with pytest.raises(ParamsError, match=r"none\.implementation: 'tuned': must be reference"):
        build_method("none", **SPECS, implementation="tuned")


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ParamsError, match="unknown method 'nope'"):
        build_method("nope", **SPECS)
