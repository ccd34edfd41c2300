"""Goals of benchmarks that are targets of `make test-faults`. They depend on the machine: the table shows what was measured."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

RUN = Path(__file__).parents[2] / "benchmarks" / "run.py"
LEDGER = pytest.mark.target("ledger of a million lines, read by streaming: under 2 s and 200 MB")
FORECAST = pytest.mark.target("plan --dry of 2,000 cells with known costs: 2 s and 150 MB")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "name", [pytest.param("ledger_reading", marks=LEDGER), pytest.param("plan_dry", marks=FORECAST)]
)
def test_what_a_benchmark_measures(name: str, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    out = tmp_path / "bench.json"
    subprocess.run([sys.executable, RUN, name, "--out", out], check=True, capture_output=True)
    found = json.loads(out.read_text())["benchmarks"][name]
    seconds = next(iter(found["times_s"].values()))
    record_property("cases", seconds["n"])
    record_property("found", f"{seconds['median']:.2f} s, {max(found['settings']['peak_mib']):.0f} MiB")
