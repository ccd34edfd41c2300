"""One archive with all that a reviewer needs to verify a report, without weights and images."""

from __future__ import annotations

import gzip
import json
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from isoclock import __version__
from isoclock.errors import ArtifactError
from isoclock.files import sha256_file, to_json, written_atomically
from isoclock.grid.cells import cells, profiles_needed, teachers_needed
from isoclock.grid.layout import Layout, ScoreFiles, TrainedFiles
from isoclock.params.load import Params
from isoclock.protocol import VERSION
from isoclock.verify.grid import make_report

MANIFEST = "MANIFEST.json"
_REMEDY = "give an archive that `isoclock bundle` wrote"


def write_bundle(params: Params, grid: str, layout: Layout, out: Path) -> int:
    """Write the archive of a grid, and return its number of files. Equal results give equal bytes.

    It holds records, ledgers, scores, confusion matrices, plans, profiles, params/, plugins/ and the report without pictures.
    Raises ArtifactError if nothing of the grid was trained yet.
    """
    files = sorted({path for path in _files(params, grid, layout) if path.is_file()})
    if not any(path.name == TrainedFiles.record.name for path in files):
        raise ArtifactError(f"grid {grid}: no cell is trained yet, so there is nothing to bundle; run it first")
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        for path in files:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, root / path)
        there = Layout(root / layout.results, root / layout.runs)
        make_report(params, grid, there, there.report(grid))
        names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
        digests = {name: sha256_file(root / name) for name in names}
        manifest = {"grid": grid, "isoclock": __version__, "protocol_version": VERSION, "files": digests}
        (root / MANIFEST).write_text(to_json(manifest), encoding="utf-8")
        with written_atomically(out) as target:
            _pack(root, [MANIFEST, *names], target)
    return len(names)


@contextmanager
def unpacked(archive: Path) -> Iterator[tuple[str, Path]]:
    """The name of the grid and a temporary folder with the files of an archive.

    Raises ArtifactError, with all problems, if it cannot be read, or if a file is missing, further or changed.
    """
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        try:
            with tarfile.open(archive, "r:gz") as packed:
                packed.extractall(root, filter="data")
            manifest = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
            grid, files = str(manifest["grid"]), dict(manifest["files"])
        except (OSError, tarfile.TarError, EOFError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"{archive}: cannot be read ({error}); {_REMEDY}") from error
        there = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()} - {MANIFEST}
        problems = [f"{archive}: {name}: missing; {_REMEDY}" for name in sorted(files.keys() - there)]
        problems += [f"{archive}: {name}: not in its {MANIFEST}; {_REMEDY}" for name in sorted(there - files.keys())]
        problems += [
            f"{archive}: {name}: was changed since it was bundled; {_REMEDY}"
            for name in sorted(there & files.keys())
            if sha256_file(root / name) != files[name]
        ]
        if problems:
            raise ArtifactError(problems)
        yield grid, root


def _files(params: Params, grid: str, layout: Layout) -> Iterator[Path]:
    yield from (path for name in (params.folder, Path("plugins")) for path in name.rglob("*") if path.suffix in _TEXTS)
    found = cells(params, grid)
    for cell in found:
        yield from _of_run(layout.student_files(cell), layout.student_scores(cell))
        yield layout.plan(cell.dataset, cell.pair, cell.method, cell.budget)
        yield layout.accepted_budget(cell.dataset, cell.pair, cell.budget)
    for where in teachers_needed(params, found):
        yield from _of_run(layout.teacher_files(*where), layout.teacher_scores(*where))
    for profile in profiles_needed(params, grid):
        yield layout.profile(*profile)


_TEXTS = (".yaml", ".md", ".py")


def _of_run(trained: TrainedFiles, scores: ScoreFiles) -> tuple[Path, ...]:
    return trained.record, trained.ledger, scores.scores, scores.confusion


def _pack(root: Path, names: list[str], target: Path) -> None:
    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.mtime, member.uid, member.gid, member.uname, member.gname, member.mode = 0, 0, 0, "", "", 0o644
        return member

    with target.open("wb") as stream, gzip.GzipFile("", "wb", fileobj=stream, mtime=0) as packed:
        options: dict[str, Any] = {"fileobj": packed, "format": tarfile.PAX_FORMAT}
        with tarfile.open(mode="w", **options) as archive:
            for name in names:
                archive.add(root / name, name, recursive=False, filter=plain)
