"""A copy of the project as a user has it, with tiny params, whose code and params a test may edit."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiny_study import edit, write_tiny_params

ROOT = Path(__file__).resolve().parents[2]
METHODS = ("none", "kd", "fitnet")
TOKEN = "hf_" + "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7"  # nobody's
TOKENS = dict.fromkeys(("HF_TOKEN", "GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_TOKEN"), TOKEN)
COPIED = ("Snakefile", "workflow", "dvc.yaml", "environment.yml", ".dvcignore")


@dataclass(frozen=True)
class Clone:
    """The copy; commands run in it with its own source. `bin` is a folder of commands that precede those of PATH."""

    folder: Path
    bin: Path | None = None

    @classmethod
    def make(cls, folder: Path, bin: Path | None = None) -> Clone:
        """Copy workflow and source; tiny params, with a grid `demo` of three methods and one budget."""
        folder.mkdir()
        for name in COPIED:
            source = ROOT / name
            (shutil.copytree if source.is_dir() else shutil.copy2)(source, folder / name)
        shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        (folder / "slurm").symlink_to("workflow/profiles/slurm")
        params = write_tiny_params(folder)
        (params / "grids" / "toy.yaml").rename(params / "grids" / "demo.yaml")
        edit(params / "grids" / "demo.yaml", "[none, kd, fitnet, cwd, mgd]", f"[{', '.join(METHODS)}]")
        edit(params / "grids" / "demo.yaml", "[iteration-6, compute-6]", "[compute-6]")
        return cls(folder, bin)

    def copy(self, folder: Path) -> Clone:
        """The same with all its results and their times."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Clone(folder, self.bin)

    @property
    def environment(self) -> dict[str, str]:
        """What commands see: this environment's programs, the copy's source, one thread, a store of the copy's own, tokens."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "ISOCLOCK_"))}
        programs = [*([self.bin] if self.bin else []), Path(sys.executable).parent, kept.get("PATH", "")]
        return {
            **kept,
            **TOKENS,
            "PATH": os.pathsep.join(map(str, programs)),
            "PYTHONPATH": str(self.folder / "src"),
            "OMP_NUM_THREADS": "1",
            "ISOCLOCK_DEVICE": "cpu",
            "PYTHONUNBUFFERED": "1",
        }

    def run(self, *command: str, status: int = 0, timeout_s: float = 540) -> str:
        """Run a command here; its output. Fails, showing that, if its exit status is another than `status`."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert done.returncode == status, f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}"
        return done.stdout

    def snakemake(self, *arguments: str, status: int = 0) -> str:
        """Run Snakemake with the local profile."""
        return self.run("snakemake", "--profile", "workflow/profiles/local", *arguments, status=status)

    def teacher(self) -> tuple[str, str]:
        """(run id, digest of the weights) of the teacher."""
        record = json.loads((self.folder / "results/teacher/streets/small/record.json").read_text())
        return record["run_id"], record["digests"]["weights"]

    def teacher_scores(self) -> dict[str, Any]:
        """The teacher's scores.json. Fails if they are of other weights than it has."""
        scores: dict[str, Any] = json.loads((self.folder / "results/teacher/streets/small/scores.json").read_text())
        assert scores["weights"] == self.teacher()[1]
        return scores

    def students(self) -> dict[str, tuple[str, str]]:
        """(run id, digest of the weights) of every student, by the cell's path."""
        found = {}
        for path in sorted((self.folder / "results" / "student").rglob("record.json")):
            record = json.loads(path.read_text())
            found["/".join(str(part) for part in record["cell"].values())] = (
                record["run_id"],
                record["digests"]["weights"],
            )
        return found

    def retrained(self, before: dict[str, tuple[str, str]]) -> set[str]:
        """Methods of the cells whose run is not the one it was. Fails if a run changed and its weights file did not follow."""
        after = self.students()
        assert after.keys() == before.keys()
        return {path.split("/")[2] for path in after if after[path] != before[path]}
