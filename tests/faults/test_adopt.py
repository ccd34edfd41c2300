"""`isoclock adopt` accepts results from DVC in a fresh clone, and only if all digests agree (fault 14)."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from clone import Clone

pytestmark = [pytest.mark.xdist_group("workflow"), pytest.mark.timeout(1800), pytest.mark.slow]

ADOPT = (
    "python", "-c",
    "import sys\nfrom isoclock.dag.adopt import adopt\nfrom isoclock.params.check import load_params\n"
    "from isoclock.errors import UserError\n"
    "from isoclock.grid.layout import Layout\n"
    "try:\n    adopt(load_params(), 'demo', Layout())\nexcept UserError as error:\n    print(error); sys.exit(2)",
)  # fmt: skip
WEIGHTS = "results/student/streets/tiny/kd/compute-6/0/weights.safetensors"


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> tuple[Clone, Path]:
    """A study that was run by DVC, and the remote that it was pushed to."""
    from isoclock.data.streets.make import make_streets

    folder = tmp_path_factory.mktemp("remote")
    clone = Clone.make(folder / "study")
    make_streets(clone.folder / "data" / "streets", train=5, val=2, size=(64, 128))
    clone.run("git", "init", "--quiet")
    clone.run("dvc", "init", "--quiet")
    clone.run("dvc", "remote", "add", "--quiet", "--default", "shared", str(folder / "store"))
    clone.run("dvc", "add", "--quiet", "data")
    clone.run("dvc", "repro", "--quiet", timeout_s=900)
    clone.run("dvc", "push", "--quiet")
    return clone, folder


def pulled(remote: tuple[Clone, Path], folder: Path, link: str) -> Clone:
    """A fresh clone: the files in git, and those from `dvc pull`."""
    source, _ = remote
    folder.mkdir()
    kept = [
        "Snakefile",
        "workflow",
        "dvc.yaml",
        "dvc.lock",
        "data.dvc",
        "environment.yml",
        "slurm",
        "src",
        "params",
        ".dvcignore",
    ]
    subprocess.run(["cp", "--archive", *kept, str(folder)], cwd=source.folder, check=True)
    clone = Clone(folder)
    clone.run("git", "init", "--quiet")
    clone.run("dvc", "init", "--quiet")
    clone.run("dvc", "config", "cache.type", link)
    clone.run("dvc", "remote", "add", "--quiet", "--default", "shared", str(remote[1] / "store"))
    clone.run("dvc", "pull", "--quiet")
    return clone


@pytest.mark.parametrize("link", ["copy", "hardlink"])
def test_a_fresh_clone_has_nothing_to_do(remote: tuple[Clone, Path], tmp_path: Path, link: str) -> None:
    clone = pulled(remote, tmp_path / "clone", link)
    before = clone.students()
    assert (clone.folder / WEIGHTS).stat().st_nlink == (2 if link == "hardlink" else 1)
    assert "Nothing to be done" not in clone.snakemake("--dry-run", "all"), "else there would be nothing to adopt"
    output = clone.run(*ADOPT)
    assert "files verified" in output
    assert "against dvc.lock" in output
    assert "Nothing to be done" in clone.snakemake("--dry-run", "all")
    assert clone.retrained(before) == set()
    assert "up to date" in clone.run("dvc", "status", "student@kd")
    assert "Nothing to be done" in clone.snakemake("--dry-run", "all")


@pytest.mark.target("10 kills in every other verb: no losses")
def test_kills_lose_nothing(
    remote: tuple[Clone, Path], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    clone, draw = pulled(remote, tmp_path / "clone", "copy"), random.Random("adopt")
    before = clone.students()
    record_property("cases", 10)
    for _ in range(10):
        with subprocess.Popen(
            ADOPT, cwd=clone.folder, env=clone.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            with suppress(subprocess.TimeoutExpired):
                process.wait(draw.uniform(3.0, 8.0))
            process.kill()
            assert process.stdout is not None
            assert "Traceback" not in process.stdout.read()
    assert "files verified" in clone.run(*ADOPT)
    assert "Nothing to be done" in clone.snakemake("--dry-run", "all")
    assert clone.retrained(before) == set()


@pytest.mark.parametrize("link", ["copy", "hardlink"])
def test_a_tampered_file_is_found_whatever_its_time(remote: tuple[Clone, Path], tmp_path: Path, link: str) -> None:
    clone = pulled(remote, tmp_path / "clone", link)
    for name in (WEIGHTS, "results/evaluate/streets/tiny/kd/compute-6/0/scores.json"):
        path = clone.folder / name
        before, content = path.stat(), path.read_bytes()
        path.chmod(0o644)
        changed = bytearray(content)
        changed[len(changed) // 2] ^= 1  # one bit, in place: with a hard link the cache has it too
        with path.open("r+b") as stream:
            stream.write(changed)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        times = {other: other.stat().st_mtime_ns for other in clone.folder.glob("results/**/record.json")}
        output = clone.run(*ADOPT, status=2)
        assert f"{name}: not the file that dvc.lock lists" in output
        assert "Traceback" not in output
        assert {other: other.stat().st_mtime_ns for other in times} == times, "nothing is taken as made here"
        with path.open("r+b") as stream:
            stream.write(content)
    clone.run(*ADOPT)


def test_results_of_other_params_are_not_adopted(remote: tuple[Clone, Path], tmp_path: Path) -> None:
    clone = pulled(remote, tmp_path / "clone", "copy")
    methods = clone.folder / "params/methods.yaml"
    methods.write_text(methods.read_text().replace("weights: {kd: 1.0}", "weights: {kd: 2.0}"))
    output = clone.run(*ADOPT, status=2)
    assert "kd/compute-6/0/record.json: made from another method than is here" in output
    assert "fitnet/compute-6/0/record.json" not in output


def test_without_dvc_the_records_are_checked(remote: tuple[Clone, Path], tmp_path: Path) -> None:
    clone = pulled(remote, tmp_path / "clone", "copy")
    (clone.folder / "dvc.lock").unlink()
    record = clone.folder / WEIGHTS.replace("weights.safetensors", "record.json")
    assert json.loads(record.read_text())["status"] == "finished"
    path = clone.folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    output = clone.run(*ADOPT, status=2)
    assert f"{WEIGHTS}: not the file that record.json describes" in output
