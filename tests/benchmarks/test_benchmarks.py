"""The benchmarks run, and their output is complete. No test depends on the measured times."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

# One process for all, because the shared run takes most of the time.
pytestmark = pytest.mark.xdist_group("benchmarks")

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
RATIOS = {
    "engine_step": "engine / by hand",
    "ledger": "line / step, amortised",
    "ledger_reading": "read / count",
    "cli_help": "help / nothing",
    "dry_run": "20 cells / 10 cells",
    "plan_dry": "20 cells / 10 cells",
    "status": "20 cells / 10 cells",
    "data": "packed / PNG + albumentations",
    "scoring": "isoclock / cityscapesscripts",
    "task_loss": "demo, 1 thread: plain / strips",
    "storage": "jpeg / raw",
}
GOALS = {
    "engine_step": {"engine / by hand": 1.03},
    "ledger": {"line / step, amortised": 0.01},
    "ledger_reading": {"totals and 1000 points": 2.0, "peak / 200 MiB": 1.0},
    "cli_help": {"isoclock --help": 0.3},
    "dry_run": {"20 cells": 10.0},
    "plan_dry": {"20 cells": 2.0, "peak / 150 MiB": 1.0},
    "status": {"20 cells": 1.0},
    "data": {"packed / PNG + albumentations": 1 / 20, "packed / decoded + albumentations": 1 / 4},
    "scoring": {"isoclock / cityscapesscripts": 1 / 20, "counting / counting": 1 / 20},
    "task_loss": {},
    "storage": {},
}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / "run.py"), *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def bench_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    out = tmp_path_factory.mktemp("bench") / "bench.json"
    done = run("--tiny", "--out", str(out))
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_text()), done.stdout


@pytest.fixture(scope="module")
def measure() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmarks_measure", BENCHMARKS / "measure.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look up their module
    spec.loader.exec_module(module)
    return module


def test_every_script_is_run(bench_run: tuple[dict[str, Any], str]) -> None:
    scripts = {path.stem for path in BENCHMARKS.glob("*.py") if "def measure(" in path.read_text()}
    assert set(bench_run[0]["benchmarks"]) == scripts == set(RATIOS)


@pytest.mark.parametrize("name", RATIOS)
def test_spreads_are_of_the_samples(bench_run: tuple[dict[str, Any], str], name: str) -> None:
    bench = bench_run[0]["benchmarks"][name]
    assert bench["about"]
    assert RATIOS[name] in bench["ratios"]
    assert len(bench["times_s"]) >= 2
    for figure in (*bench["times_s"].values(), *bench["ratios"].values()):
        samples = figure["samples"]
        assert figure["n"] == len(samples) >= 1
        assert min(samples) > 0
        assert min(samples) <= figure["q25"] <= figure["median"] <= figure["q75"] <= max(samples)
    assert {goal["of"]: goal["at_most"] for goal in bench["goals"]} == GOALS[name]
    assert all(isinstance(goal["met"], bool) for goal in bench["goals"])


def test_machine_and_versions_are_recorded(bench_run: tuple[dict[str, Any], str]) -> None:
    machine = bench_run[0]["machine"]
    assert machine["device_kind"]
    assert machine["cpu_cores"] >= 1
    assert {"isoclock", "torch", "snakemake", "albumentations"} <= machine["versions"].keys()
    assert bench_run[0]["tiny"] is True, "these must not be mistaken for results"


def test_one_table_names_all(bench_run: tuple[dict[str, Any], str]) -> None:
    assert all(name in bench_run[1] for name in RATIOS)


def test_throughput_of_eight_workers_is_printed(bench_run: tuple[dict[str, Any], str]) -> None:
    says = bench_run[0]["benchmarks"]["data"]["says"]
    assert "8 workers" in says[1]
    assert all(sentence.split()[0] in bench_run[1] for sentence in says)


def test_an_unknown_name_is_reported(tmp_path: Path) -> None:
    done = run("nope", "--out", str(tmp_path / "bench.json"))
    assert done.returncode == 2
    assert "unknown benchmark 'nope'; choose from engine_step, ledger" in done.stderr
    assert not (tmp_path / "bench.json").exists()


def test_samples_are_taken_in_turns(measure: ModuleType) -> None:
    taken: list[str] = []

    def sample(name: str, value: float) -> float:
        taken.append(name)
        return value

    found = measure.in_turns(2, a=lambda: sample("a", 3.0), b=lambda: sample("b", 2.0))
    assert taken == ["a", "b", "b", "a"]
    assert measure.pairwise(found["a"], found["b"]) == [1.5, 1.5]


@pytest.mark.parametrize(
    ("samples", "expected"), [([2.0], (2.0, 2.0, 2.0)), ([5.0, 1.0, 3.0, 2.0, 4.0], (2.0, 3.0, 4.0))]
)
def test_quartiles(measure: ModuleType, samples: list[float], expected: tuple[float, float, float]) -> None:
    spread = measure.Spread.of(samples)
    assert (spread.q25, spread.median, spread.q75) == expected


def test_no_samples_have_no_median(measure: ModuleType) -> None:
    with pytest.raises(ValueError, match="no samples"):
        measure.Spread.of([])
