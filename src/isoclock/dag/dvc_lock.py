"""`dvc.lock`: which files DVC tracks below results/, and whether they are as it lists them."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

from isoclock.errors import ArtifactError, UserError

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
    try:
        stages = (yaml.safe_load(lock.read_text(encoding="utf-8")) or {}).get("stages", {})
        listed = [(Path(out["path"]), out) for stage in stages.values() for out in stage.get("outs", [])]
        outs = [
            (path, str(out["md5"]))
            for path, out in listed
            if path.is_relative_to(results) and "stamps" not in path.parts
        ]
    except (yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ArtifactError(f"{lock}: damaged ({reason}); restore it from the repository") from None
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


def _dvc_cache() -> Path:
    result = subprocess.run([sys.executable, "-m", "dvc", "cache", "dir"], capture_output=True, text=True, check=False)
    if result.returncode:
        raise UserError(
            f"dvc cache dir: {(result.stderr or result.stdout).strip().splitlines()[-1]}; is this DVC's folder?"
        )
    return Path(result.stdout.strip().splitlines()[-1])
