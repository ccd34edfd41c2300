"""`isoclock.methods.testing`: a method outside of the package passes, and each kind of defect is reported."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from isoclock.methods.testing import check_method

SOURCE = '''
import torch
from isoclock.methods.contract import Method, in_loss_precision


class Huber(Method):
    """huber = mean of H(z^S - z^T), H(x) = x^2 / 2 up to |x| = 1 and |x| - 1/2 beyond."""

    title = "Huber loss of logits"
    source = "ours"
    terms = ("huber",)
    params = {"beta": {"type": "number", "above": 0, "default": 1.0}}
    implementations = ("reference", "tuned")
    reads = {"huber": ("logits",)}

    def compute(self, student, teacher, batch, draw):
        ours, theirs = in_loss_precision(student.logits), in_loss_precision(teacher.logits)
        value = torch.nn.functional.smooth_l1_loss(ours, theirs, beta=self.settings["beta"])
        return {"huber": value}
'''
DEFECTS = {
    "gradient": ("value = value.detach() + 2 * (value - value.detach())", "gradient_is_the_derivative"),
    "shape": ("value = value[None]", "huber has shape (1,), not ()"),
    "dtype": ("value = value.bfloat16()", "huber is torch.bfloat16, not torch.float32"),
    "host sync": ("value = value if value.item() > 0 else -value", "no_wait_and_no_loop"),
    "unequal": ("value = value * (1.001 if self.implementation == 'tuned' else 1)", "float64_agrees"),
    "output of the student": ("value = value + 0 * student.features['head'].sum()", "KeyError: 'head'"),
    "torch's own generator": ("value = value + 0 * torch.rand(())", "global generator"),
    "an input in place": ("student.logits.data.add_(1)", "logits is changed in place"),
}
"""A line before the `return` of `compute`, and what is reported."""


def load(folder: Path, source: str) -> ModuleType:
    path = folder / "huber_outside.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location("huber_outside", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def broken(line: str) -> str:
    assert SOURCE.count("        return {") == 1
    return SOURCE.replace("        return {", f"        {line}\n        return {{")


def test_a_method_outside_of_the_package_passes(tmp_path: Path) -> None:
    method = load(tmp_path, SOURCE).Huber
    check_method(method)
    check_method(method, beta=0.5)
    assert method.card().name == "huber"
    assert method.card().definition.startswith("huber = mean of")


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_reported(defect: str, tmp_path: Path) -> None:
    line, message = DEFECTS[defect]
    with pytest.raises(AssertionError) as caught:
        check_method(load(tmp_path, broken(line)).Huber)
    assert str(caught.value).startswith("huber fails ")
    assert message in str(caught.value)


def test_an_error_is_a_failure_with_its_type(tmp_path: Path) -> None:
    source = broken("raise KeyError('logit')")
    with pytest.raises(AssertionError, match=r"one_image_is_accepted \(reference\): KeyError: 'logit'"):
        check_method(load(tmp_path, source).Huber)


def test_a_method_is_checked_by_name() -> None:
    check_method("kd", temperature=4.0)
    with pytest.raises(AssertionError, match=r"kd\.temperature: -1: must be above 0"):
        check_method("kd", temperature=-1)


def test_contract_is_the_test_of_a_method_outside_of_the_package(tmp_path: Path) -> None:
    """A few lines and pytest: a test for each check and implementation, and one that fails for a broken method."""
    (tmp_path / "huber_outside.py").write_text(broken("value = value.double()"))
    (tmp_path / "test_huber.py").write_text(
        "from huber_outside import Huber\nfrom isoclock.methods.testing import MethodContract\n\n"
        "class TestHuber(MethodContract):\n    method = Huber\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "float32_scalars or inputs", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "2 failed, 2 passed" in done.stdout, done.stdout
    assert "huber is torch.float64, not torch.float32" in done.stdout


def test_without_pytest_the_extra_is_named() -> None:
    """check_method needs torch alone; MethodContract says what to install."""
    code = (
        "import sys\nsys.modules['pytest'] = sys.modules['hypothesis'] = None\n"
        "from isoclock.methods.testing import check_method\ncheck_method('none')\n"
        "from isoclock.methods.testing import MethodContract"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "ImportError: MethodContract needs pytest: pip install 'isoclock[testing]'"
    )
