"""The parts of `make gpu` run, here on the CPU with small networks, and the page shows what they measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
GPU = ROOT / "benchmarks" / "gpu"
pytestmark = pytest.mark.xdist_group("benchmarks")


def run(out: Path, *parts: str) -> dict[str, list[dict[str, Any]]]:
    """The rows of some parts, by part; they all finished."""
    command = [sys.executable, str(GPU / "run.py"), "--tiny", "--device", "cpu", "--out", str(out)]
    command += [argument for part in parts for argument in ("--part", part)]
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    logs = "\n".join((out / f"{part}.log").read_text()[-2000:] for part in parts)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{logs}"
    rows: dict[str, list[dict[str, Any]]] = json.loads((out / "gpu.json").read_text())["parts"]
    assert list(rows) == list(parts)
    return rows


def test_costs_name_entries_and_implementations(tmp_path: Path) -> None:
    rows = run(tmp_path, "machine", "costs")
    assert [row["kind"] for row in rows["machine"]] == ["software", "device", "end"]
    costs = [row for row in rows["costs"] if row["kind"] == "cost"]
    assert [row["entry"] for row in costs if row["implementation"] == "reference"] == ["none", "kd"]
    for row in costs:
        assert row["low"] <= row["ratio"] <= row["high"]
        assert row["finite"]
        assert {"transfer", "student", "loss", "backward", "optimiser"} <= set(row["phases_ms"])
    page = (tmp_path / "gpu.md").read_text()
    assert "| `kd` | reference |" in page
    assert max(len(line) for line in page.splitlines() if not line.startswith("|")) <= 100


def test_what_there_was_no_time_for_has_a_row(tmp_path: Path) -> None:
    command = [sys.executable, str(GPU / "costs.py"), "--tiny", "--device", "cpu", "--out", str(tmp_path / "rows")]
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT / "benchmarks")])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    subprocess.run([*command, "--seconds", "0"], env=environment, check=True, capture_output=True)
    rows = [json.loads(line) for line in (tmp_path / "rows").read_text().splitlines()]
    assert all(row["skipped"] == "no time left" for row in rows if row["kind"] == "cost")


def test_without_a_gpu_it_ends_with_one_line(tmp_path: Path) -> None:
    command = [sys.executable, str(GPU / "run.py"), "--part", "machine", "--out", str(tmp_path)]
    done = subprocess.run(
        command, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("no GPU that torch can use: ")
    assert done.stderr.count("\n") == 1


def test_the_page_in_docs_is_that_of_its_figures() -> None:
    sys.path.insert(0, str(GPU))
    try:
        from page import page
    finally:
        sys.path.remove(str(GPU))
    kept = ROOT / "docs" / "results" / "gpu.json"
    document = json.loads(kept.read_text()) if kept.is_file() else None
    assert (kept.parent / "gpu.md").read_text() == page(document)


@pytest.mark.test_all
def test_all_parts(tmp_path: Path) -> None:
    rows = run(tmp_path, "machine", "goldens", "costs", "verbs", "switches", "floors")
    verbs = [row for row in rows["verbs"] if row["kind"] == "verb"]
    assert [row["status"] for row in verbs if not row["command"].endswith("(stopped)")] == [0] * (len(verbs) - 1)
    assert {row["ended"] for part in rows.values() for row in part if row["kind"] == "end"} == {"finished"}
