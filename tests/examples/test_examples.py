"""The examples run unchanged, and import nothing of the pipeline."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))
PIPELINE = {"mlflow", "snakemake", "dvc", "albumentations"}
RUN = (
    "import json, runpy, sys\n"
    "runpy.run_path(sys.argv[1], run_name='__main__')\n"
    "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))\n"
)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_runs_without_the_pipeline(path: Path, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", RUN, str(path)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    *printed, modules = ended.stdout.splitlines()
    losses = [float(value) for line in printed for value in re.findall(r" (\d+\.\d+)", line)]
    assert losses, "it prints its losses"
    assert not PIPELINE & set(json.loads(modules))
    assert "torch" in json.loads(modules)


def test_there_is_an_example() -> None:
    assert "train_with_cwd.py" in [path.name for path in EXAMPLES]
