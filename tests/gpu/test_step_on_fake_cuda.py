"""The complete training step of every entry and implementation on fake CUDA tensors: forward to optimiser, adversary, pre-training.

It finds what needs no values: devices, dtypes, host waits, and the number of operators with the bytes that they move.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from count_operators import FILE, minor_release

pytest.importorskip("triton", reason="the step on a GPU uses Triton kernels")
pytestmark = [pytest.mark.xdist_group("fake-cuda"), pytest.mark.timeout(600)]

FOLDER = Path(__file__).parent
ALL = os.environ.get("ISOCLOCK_ALL") == "1"
REWRITE = "python tests/gpu/count_operators.py --write"

CIRKD_MEMORY = "pushes the pixels of each image and class one after another, as losses/cirkd_memory.py of winycg/CIRKD"
LABELLED_ROWS = "selects the labelled pixels by a mask; the published loss is for images, which all have a label"
AFDCD_MASKS = "selects positives and negatives of each patch by masks"
WAITING_REFERENCES = {
    "cirkd": CIRKD_MEMORY,
    "cirkd-official": CIRKD_MEMORY,
    "cirkd-pooled": CIRKD_MEMORY,
    "cirkd-small": CIRKD_MEMORY,
    "rkd": "selects the distances that are not 0 for their mean, as metric/loss.py of lenscloth/RKD",
    "dkd": LABELLED_ROWS,
    "dkd-t1": LABELLED_ROWS,
    "nkd": LABELLED_ROWS,
    "afdcd": AFDCD_MASKS,
    "afdcd-plain": AFDCD_MASKS,
    "afdcd-centre": AFDCD_MASKS,
    "afdcd-official": AFDCD_MASKS,
}
"""Entries whose reference makes the host wait for the GPU, because the published code does."""

Rows = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Rows]:
    """Findings by data set and by "entry implementation", of further entries of a method in `make test-all` only.

    In a process of its own: see `fake_cuda`.
    """
    out = tmp_path_factory.mktemp("operators") / "found.json"
    command = [sys.executable, "count_operators.py", "--out", str(out), *([] if ALL else ["--first"])]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=FOLDER, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    findings: dict[str, Rows] = json.loads(out.read_text())
    return findings


def test_everything_is_on_the_gpu_and_terms_are_float32(found: dict[str, Rows]) -> None:
    """Parameters, buffers, banks, states of optimisers, and what operators read and write."""
    problems = [
        f"{key}: {problem}" for rows in found.values() for key, row in rows.items() for problem in row["problems"]
    ]
    assert not problems, "\n".join(problems)


def test_no_tuned_loss_waits_for_the_gpu(found: dict[str, Rows]) -> None:
    waits = [
        f"{key}: {place}"
        for rows in found.values()
        for key, row in rows.items()
        for place in row["waits"]
        if not key.endswith(" reference")
    ]
    assert not waits, "\n".join(waits)


def test_references_wait_where_the_published_code_does(found: dict[str, Rows]) -> None:
    waits = {
        key.removesuffix(" reference"): row["waits"]
        for rows in found.values()
        for key, row in rows.items()
        if key.endswith(" reference") and row["waits"]
    }
    new = {name: places for name, places in waits.items() if name not in WAITING_REFERENCES}
    assert not new, (
        f"{new}: remove the wait, or add the entry to WAITING_REFERENCES with its place in the published code"
    )


def test_operators_and_bytes_are_those_in_the_file(found: dict[str, Rows]) -> None:
    """Calls and MiB, by phase. Other releases of torch run other operators: the file belongs to one."""
    kept = json.loads(FILE.read_text())
    if kept.pop("torch") != minor_release(torch.__version__):
        pytest.skip(f"{FILE.name} was written with another release of torch than {torch.__version__}; {REWRITE}")
    differences = []
    for dataset in sorted({*kept, *found}):
        before, now = kept.get(dataset, {}), found.get(dataset, {})
        for key in sorted({*before, *now} if ALL else now):
            then, counts = before.get(key), now[key]["counts"] if key in now else None
            if then != counts:
                differences.append(f"{dataset} {key}: {_comparison(then, counts)}")
    assert not differences, "\n".join(
        [
            f"tests/gpu/{FILE.name} has other numbers. If the change is wanted, run `{REWRITE}` and commit the file.",
            *differences,
        ]
    )


def _comparison(then: dict[str, Any] | None, now: dict[str, Any] | None) -> str:
    if then is None or now is None:
        return "is not in the file" if then is None else "no longer exists"
    return "; ".join(
        f"{phase}: {before[0]} calls and {before[1]} MiB in the file, now {after[0]} calls and {after[1]} MiB"
        for phase in {**then, **now}
        for before, after in [(then.get(phase, (0, 0)), now.get(phase, (0, 0)))]
        if list(before) != list(after)
    )
