"""A precision that this device emulates is said in one line, and refused in a study.

A CPU without bf16 instructions is had anywhere: two environment variables lower what torch and oneDNN use, in a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from isoclock.errors import ParamsError
from isoclock.training import precision
from isoclock.training.precision import check_precision, slowdown
from tiny_recipe import recipe
from tiny_study import TinyStudy, write_plan

CPU = torch.device("cpu")
NO_BF16 = {"ATEN_CPU_CAPABILITY": "avx2", "DNNL_MAX_CPU_ISA": "AVX2", "OMP_NUM_THREADS": "1"}
VERBS = {
    "teacher": ["teacher", "streets", "small"],
    "student": ["student", "streets/tiny/none/iteration-6/0"],
    "profile": ["profile", "streets", "tiny", "none"],
}
x86 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="the variables that lower a CPU are for x86-64")


def emulating(study: TinyStudy, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a verb in `study` on a CPU without bf16 instructions."""
    command = [sys.executable, "-m", "isoclock", *arguments]
    environment = {**os.environ, **NO_BF16, "COLUMNS": "1000", "ISOCLOCK_DEVICE": "cpu"}
    return subprocess.run(command, cwd=study.folder, env=environment, capture_output=True, text=True, timeout=240)


def in_bf16(study: TinyStudy) -> TinyStudy:
    study.edit("training.yaml", "precision: fp32", "precision: bf16")
    return study


def test_fp32_is_never_slow() -> None:
    assert slowdown("fp32", CPU) == 1.0


def test_the_settings_of_the_process_stay_as_they_are() -> None:
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    assert slowdown("bf16", CPU) > 0
    assert slowdown("fp16", CPU) > 0
    assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == before


def test_a_line_or_an_error_from_one_and_a_half_times_on(monkeypatch: pytest.MonkeyPatch) -> None:
    output: list[str] = []
    for slower, lines in ((1.49, 0), (1.51, 1)):
        monkeypatch.setattr(precision, "slowdown", lambda *_, slower=slower: slower)
        output.clear()
        check_precision(recipe(precision="bf16"), "streets", CPU, Path("params"), study=False, warn=output.append)
        assert len(output) == lines
    assert output[0].startswith("params/training.yaml: streets: precision: bf16: ")
    assert "1.51 times as long" in output[0]
    assert output[0].endswith("set `precision: fp32`")
    with pytest.raises(ParamsError, match=r"streets: precision: bf16: .* set `precision: fp32`") as error:
        check_precision(recipe(precision="bf16"), "streets", CPU, Path("params"), study=True, warn=output.append)
    assert len(error.value.problems) == 1


@x86
@pytest.mark.parametrize("verb", VERBS)
def test_a_study_refuses_and_writes_nothing(taught_study: TinyStudy, verb: str) -> None:
    in_bf16(taught_study)
    files = {path for path in taught_study.folder.rglob("*") if path.is_file()}
    done = emulating(taught_study, *VERBS[verb], "--study")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("isoclock: params/training.yaml: streets: precision: bf16: ")
    assert "set `precision: fp32`" in line
    assert {path for path in taught_study.folder.rglob("*") if path.is_file()} == files


@x86
@pytest.mark.parametrize(
    "verb", ["student", *(pytest.param(verb, marks=pytest.mark.test_all) for verb in VERBS if verb != "student")]
)
def test_other_grids_go_on_after_one_line(taught_study: TinyStudy, verb: str) -> None:
    in_bf16(taught_study)
    if verb == "student":
        taught_study.edit("training.yaml", "evaluations: 2", "evaluations: 0")
        kind = subprocess.run(
            [sys.executable, "-c", "import torch; from isoclock.training.device import device_kind; "
             "print(device_kind(torch.device('cpu')))"],
            env={**os.environ, **NO_BF16}, capture_output=True, text=True, check=True, timeout=120,
        ).stdout.strip()  # fmt: skip
        write_plan(taught_study, method="none", iterations=1, device_kind=kind)
    done = emulating(taught_study, *VERBS[verb])
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("set `precision: fp32`") == 1


@x86
def test_doctor_names_the_data_sets_that_ask_for_it(taught_study: TinyStudy) -> None:
    quiet = emulating(taught_study, "doctor", "--no-job")
    assert "bf16" not in quiet.stdout.replace("-BF16", "")
    output = emulating(in_bf16(taught_study), "doctor", "--no-job").stdout
    assert "times as long as in fp32; used by streets" in " ".join(output.split())
    assert "set `precision: fp32`" in output
