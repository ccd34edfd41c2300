from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from isoclock.training.device import device_kind
from isoclock.training.kind import cpu_kind, gpu_kind, short_kinds

EPYC = """\
processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: 17
model name\t: AMD EPYC
stepping\t: 1
flags\t\t: fpu avx2 avx512f avx512_bf16

processor\t: 1
cpu family\t: 25
model\t\t: 17
model name\t: another core
stepping\t: 1
flags\t\t: fpu
"""
GRAVITON = """\
processor\t: 0
BogoMIPS\t: 2100.00
Features\t: fp asimd sve i8mm bf16
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x1
CPU part\t: 0xd40
CPU revision\t: 1
"""


def epyc(old: str = "", new: str = "", capability: str = "AVX512", **environment: str) -> str:
    return cpu_kind(EPYC.replace(old, new) if old else EPYC, "x86_64", capability, environment)


def test_a_cpus_kind_tells_what_its_speed_depends_on() -> None:
    assert epyc() == "cpu:AMD EPYC (family 25, model 17, stepping 1, AVX512, AVX512-BF16)"
    assert epyc("avx512_bf16", "avx512_bf16 amx_bf16").endswith("AVX512, AMX-BF16)"), "the faster of the two is used"


@pytest.mark.parametrize(
    "other",
    [
        epyc("cpu family\t: 25", "cpu family\t: 26"),
        epyc("model\t\t: 17", "model\t\t: 1"),
        epyc("stepping\t: 1", "stepping\t: 2"),
        epyc(" avx512_bf16", ""),
        epyc(capability="AVX2"),
        epyc(DNNL_MAX_CPU_ISA="AVX2"),
        epyc(DNNL_MAX_CPU_ISA="AVX512_CORE"),
        epyc(MKL_ENABLE_INSTRUCTIONS="AVX2"),
        epyc(MKL_CBWR="COMPATIBLE"),
    ],
)
def test_cpus_of_one_name_that_differ_in_speed_are_two_kinds(other: str) -> None:
    assert other.startswith("cpu:AMD EPYC (")
    assert other != epyc()


def test_limits_are_named_as_they_are_set() -> None:
    output = epyc(capability="AVX2", DNNL_MAX_CPU_ISA="avx2", MKL_ENABLE_INSTRUCTIONS="AVX2")
    assert output.endswith("stepping 1, AVX2, AVX512-BF16, oneDNN at most AVX2, MKL at most AVX2)")
    assert epyc(ONEDNN_MAX_CPU_ISA="SSE41", DNNL_MAX_CPU_ISA="AVX2").endswith("oneDNN at most SSE41)")
    assert epyc(DNNL_MAX_CPU_ISA="all") == epyc(ONEDNN_MAX_CPU_ISA="") == epyc(), "no limit"


def test_an_arm_cpu_is_known_by_its_part_and_one_without_cpuinfo_by_its_name() -> None:
    output = "cpu:aarch64 (implementer 0x41, part 0xd40, variant 0x1, revision 1, SVE256, BF16)"
    assert cpu_kind(GRAVITON, "aarch64", "SVE256", {}) == output
    assert cpu_kind("", "Apple M2", "DEFAULT", {}) == "cpu:Apple M2 (DEFAULT)"


def test_a_gpus_kind_has_name_memory_and_multiprocessors() -> None:
    whole = gpu_kind("NVIDIA H100 80GB HBM3", 84_929_347_584, 132)
    assert whole == "cuda:NVIDIA H100 80GB HBM3 (79 GiB, 132 multiprocessors)"
    part = gpu_kind("NVIDIA H100 80GB HBM3 MIG 1g.10gb", 10_468_982_784, 16)
    assert part == "cuda:NVIDIA H100 80GB HBM3 MIG 1g.10gb (10 GiB, 16 multiprocessors)"
    assert gpu_kind("NVIDIA H100 80GB HBM3", 84_929_347_584 - (40 << 20), 132) == whole, "another driver's reserve"


def test_this_machines_kinds_differ_with_what_lowers_its_instruction_set() -> None:
    code = "import torch; from isoclock.training.device import device_kind; print(device_kind(torch.device('cpu')))"
    lowered = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}
    output = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | lowered, capture_output=True, text=True, check=True
    ).stdout.strip()
    here = device_kind(torch.device("cpu"))
    assert output != here
    assert "DEFAULT" in output
    assert output.endswith("oneDNN at most SSE41)") or "oneDNN at most SSE41, " in output
    assert output.partition(" (")[0] == here.partition(" (")[0]


def test_a_column_has_short_names_where_they_tell_kinds_apart() -> None:
    one, other, gpu = "cpu:AMD EPYC (model 1, AVX2)", "cpu:AMD EPYC (model 17, AVX512)", "cuda:H100 (79 GiB)"
    assert short_kinds([one, gpu]) == {one: "cpu:AMD EPYC", gpu: "cuda:H100"}
    assert short_kinds([one, other, gpu]) == {
        one: "cpu:AMD EPYC (model 1, AVX2)",
        other: "cpu:AMD EPYC (model 17, AVX512)",
        gpu: "cuda:H100",
    }
    lowered = "cpu:AMD EPYC (model 17, AVX2, oneDNN at most AVX2)"
    assert short_kinds([lowered, other]) == {
        lowered: "cpu:AMD EPYC (AVX2, oneDNN at most AVX2)",
        other: "cpu:AMD EPYC (AVX512)",
    }
    assert short_kinds(["cpu"]) == {"cpu": "cpu"}
