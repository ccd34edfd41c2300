"""`dvc.lock`: which files DVC tracks below results/, and whether they are as it lists them."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from isoclock.errors import ArtifactError, UserError
from isoclock.params.yaml_file import read_yaml

DVC_LOCK = Path("dvc.lock")


def compare_with_dvc_lock(lock: Path, results: Path, problems: list[str]) -> set[Path]:
    """Compare files with `lock` and return them: none if there is no such file. Differences are added to `problems`."""
    if not lock.is_file():
        return set()
    tracked = dict(_tracked(lock, results))
    for file, digest in tracked.items():
        if not file.is_file():
            problems.append(f"{file}: not there, but listed in {lock}; `dvc pull` brings it")
        elif hashlib.md5(file.read_bytes()).hexdigest() != digest:
            problems.append(
                f"{file}: not the file that {lock} lists; remove it, and its copy in the cache if `dvc checkout` "
                f"brings back the same, then `dvc pull`"
            )
    return set(tracked)


def _tracked(lock: Path, results: Path) -> Iterator[tuple[Path, str]]:
    """(file, MD5) of every result that `dvc.lock` lists, folders opened by their listing in DVC's cache."""
    outs = [out for out in _outs(lock) if out[0].is_relative_to(results) and "stamps" not in out[0].parts]
    cache = _dvc_cache() if outs else Path()
    for path, digest in outs:
        if not digest.endswith(".dir"):
            yield path, digest
            continue
        listing = cache / "files" / "md5" / digest[:2] / digest[2:]
        content = listing.read_bytes() if listing.is_file() else b""
        if hashlib.md5(content).hexdigest() + ".dir" != digest:
            raise ArtifactError(f"{listing}: the listing of {path} is not there or damaged; `dvc fetch` brings it")
        yield from ((path / entry["relpath"], str(entry["md5"])) for entry in json.loads(content))


def _outs(lock: Path) -> list[tuple[Path, str]]:
    """(path, MD5) of every output that `dvc.lock` lists."""
    problems: list[str] = []
    content = read_yaml(lock, problems)
    if problems:
        raise ArtifactError(problems)
    try:
        stages = (content or {}).get("stages", {}).values()
        return [(Path(out["path"]), str(out["md5"])) for stage in stages for out in stage.get("outs", [])]
    except (AttributeError, KeyError, TypeError):
        raise ArtifactError(f"{lock}: not a lock file of DVC; restore it with `git checkout {lock}`") from None


def _dvc_cache() -> Path:
    result = subprocess.run(
        [sys.executable, "-m", "dvc", "cache", "dir"],
        capture_output=True,
        text=True,
        errors="backslashreplace",
        check=False,
    )
    if result.returncode:
        raise UserError(
            f"dvc cache dir: {(result.stderr or result.stdout).strip().splitlines()[-1]}; is this DVC's folder?"
        )
    return Path(result.stdout.strip().splitlines()[-1])
