"""The verb `adopt`: results that came from elsewhere (`dvc pull`, a copy) are verified and taken as made here.

A checkout sets times as it pleases, so Snakemake would make everything again. First every digest that a record holds is compared
with the file it is of, every value with this checkout's params/ and code, and every file with `dvc.lock` if there is one; only
if all agree are the times put in order, by Snakemake's own `--touch`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from isoclock.dag.targets import Study
from isoclock.data.packing.packed import PackedSplit, read_index
from isoclock.errors import ArtifactError, UserError
from isoclock.files import sha256_file, sha256_json, write_bytes, written_atomically
from isoclock.grid.cells import Cell, cells, datasets_needed, profiles_needed, teachers_needed
from isoclock.grid.layout import Layout
from isoclock.grid.stamps import budget_stamp, cost_inputs, profile_stamp, refresh, student_stamp, teacher_stamp
from isoclock.params.load import Params
from isoclock.records.protocol import VERSION
from isoclock.records.results import Results
from isoclock.records.run import Record
from isoclock.records.scores import ScoreDocument
from isoclock.scoring.confusion import mean_iou

DVC_LOCK = Path("dvc.lock")
MAX_PROBLEMS_SHOWN = 20


def adopt(params: Params, grid_name: str, layout: Layout, tell: Callable[[str], None] = print) -> None:
    """Verify all results of a grid and put their times in order, so that Snakemake finds nothing to do.

    Raises ArtifactError with a line for every file that is missing, damaged or of other params or code, before anything is
    touched; UserError if Snakemake cannot be run here. MLflow is brought up to date on the way.
    """
    refresh(params, grid_name, layout)
    checked = _Verification(params, layout)
    checked.grid(grid_name)
    tracked = checked.dvc_lock(DVC_LOCK)
    if checked.problems:
        more = len(checked.problems) - MAX_PROBLEMS_SHOWN
        raise ArtifactError(
            checked.problems[:MAX_PROBLEMS_SHOWN] + ([f"and {more} more like these"] if more > 0 else [])
        )
    for output, accepted_path in _accepted(params, grid_name, layout):
        if not accepted_path.is_file():  # it is in runs/, which is not copied with results/
            write_bytes(accepted_path, output.read_bytes())
    for path in layout.results.rglob("*"):
        if path.is_file() and os.geteuid() not in (0, path.stat().st_uid):
            _make_ours(path)
    _sync(params, grid_name, layout, tell)
    _touch(grid_name)
    tell(
        f"grid {grid_name}: {checked.files} files verified{f', {tracked} of them against {DVC_LOCK}' if tracked else ''}"
    )


@dataclass
class _Verification:
    """Collects a line for every file that is missing, damaged or made from something else."""

    params: Params
    layout: Layout
    problems: list[str] = field(default_factory=list)
    seen: set[Path] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.results = Results(self.layout, self.problems)

    @property
    def files(self) -> int:
        return len(self.seen)

    def grid(self, name: str) -> None:
        """Data, teachers, profiles, budgets, plans, students and scores of a grid."""
        params, layout, found = self.params, self.layout, cells(self.params, name)
        for dataset in datasets_needed(params, found):
            folder = layout.prepared(dataset)
            try:
                splits = list(read_index(folder).splits)
            except UserError as error:
                self.problems += error.problems
                continue
            for split in splits:
                try:
                    PackedSplit(folder, split).verify()
                except UserError as error:
                    self.problems += error.problems
        for dataset, model in teachers_needed(params, found):
            self._teacher(dataset, model)
        for dataset, pair, method in profiles_needed(params, name):
            self._profile(dataset, pair, method)
        for cell in found:
            self._student(cell)
        self._there(layout.report(name) / "report.html", "report")

    def dvc_lock(self, path: Path) -> int:
        """Compare files with `dvc.lock`; returns how many: 0 if there is no such file."""
        if not path.is_file():
            return 0
        count = 0
        for file, digest in _tracked(path, self.layout.results):
            if not file.is_file():
                self.problems.append(f"{file}: not there, but listed in {path}; `dvc pull` brings it")
            elif hashlib.md5(file.read_bytes()).hexdigest() != digest:
                self.problems.append(
                    f"{file}: not the file that {path} lists; remove it, and its copy in the cache if `dvc checkout` "
                    f"brings back the same, then `dvc pull`"
                )
            self.seen.add(file)
            count += 1
        return count

    def _teacher(self, dataset: str, model: str) -> None:
        folder = self.layout.teacher(dataset, model)
        record = self.results.teacher_record(dataset, model)
        if not self._there(folder / "record.json", "teacher") or record is None:
            return
        stamp = teacher_stamp(self.params, dataset, model)
        self._same(folder / "record.json", record.params, stamp, ("recipe", "model"))
        self._is(folder / "record.json", "code", record.digests.code, stamp["code"])
        self._made(folder, dataset, record)
        self._scored(folder, record, self.results.teacher_scores(dataset, model))

    def _profile(self, dataset: str, pair: str, method: str) -> None:
        path = self.layout.profile(dataset, pair, method)
        profile = self.results.profile(dataset, pair, method)
        if not self._there(path, "profile") or profile is None:
            return
        digests, about = profile.digests, cost_inputs(self.params, dataset, pair, method)
        self._is(path, "version of the protocol", profile.protocol_version, VERSION)
        self._is(path, "code", digests.code, profile_stamp(self.params, dataset, pair, method)["code"])
        self._is(path, "params", digests.inputs, sha256_json(about))
        self._is(path, "data", digests.data, self._digest(self.layout.prepared(dataset) / "index.json"))

    def _student(self, cell: Cell) -> None:
        folder, layout = self.layout.student(cell), self.layout
        path = folder / "record.json"
        accepted_path = layout.accepted_budget(cell.dataset, cell.pair, cell.budget)
        accepted = self.results.accepted_budget(cell.dataset, cell.pair, cell.budget)
        if self._there(accepted_path, "plan") and accepted is not None:
            entry = sha256_json(budget_stamp(self.params, cell.dataset, cell.pair, cell.budget))
            self._is(accepted_path, "params", accepted.entry, entry)
        record = self.results.record(cell)
        if not self._there(path, "student") or record is None:
            return
        stamp, digests = student_stamp(self.params, cell), record.digests
        self._is(path, "version of the protocol", record.protocol_version, VERSION)
        self._same(path, record.params, stamp, ("recipe", "student", "teacher", "method"))
        self._is(path, "code", digests.code, stamp["code"])
        plan = layout.plan(cell.dataset, cell.pair, cell.method, cell.budget)
        self._is(path, "plan", digests.plan, self._digest(plan))
        teacher = None
        if self.params.has_teacher(cell.method, cell.dataset):
            ((dataset, model),) = teachers_needed(self.params, [cell])
            teacher = self._digest(layout.teacher(dataset, model) / "weights.safetensors")
        self._is(path, "teacher", digests.teacher, teacher)
        self._made(folder, cell.dataset, record)
        self._scored(layout.evaluation(cell), record, self.results.scores(cell))

    def _made(self, folder: Path, dataset: str, record: Record) -> None:
        """What teachers and students have in common."""
        self._is(
            folder / "record.json",
            "data",
            record.digests.data,
            self._digest(self.layout.prepared(dataset) / "index.json"),
        )
        if self._digest(folder / "weights.safetensors") != record.digests.weights:
            self.problems.append(
                f"{folder / 'weights.safetensors'}: not the file that record.json describes; `dvc pull` again"
            )
        self._there(folder / "ledger.jsonl", "student")

    def _scored(self, folder: Path, record: Record, scores: ScoreDocument | None) -> None:
        import numpy as np

        if not self._there(folder / "scores.json", "evaluate") or scores is None:
            return
        if not self._there(folder / "confusion.npz", "evaluate"):
            return
        self._is(folder / "scores.json", "version of the protocol", scores.protocol_version, VERSION)
        self._is(folder / "scores.json", "weights", scores.weights, record.digests.weights)
        try:
            with np.load(folder / "confusion.npz", allow_pickle=False) as stored:
                counted = mean_iou(stored["total"])
        except (OSError, ValueError, KeyError) as error:
            self.problems.append(f"{folder / 'confusion.npz'}: cannot be read ({error}); `isoclock evaluate` makes it")
            return
        if scores.miou is not None and scores.miou != counted:
            self.problems.append(
                f"{folder / 'scores.json'}: mIoU {scores.miou} is not that of confusion.npz, {counted}"
            )

    def _there(self, path: Path, made_by: str) -> bool:
        self.seen.add(path)
        if not path.is_file():
            self.problems.append(f"{path}: not there; `dvc pull` brings it, or `isoclock {made_by}` makes it")
        return path.is_file()

    def _digest(self, path: Path) -> str | None:
        self.seen.add(path)
        return sha256_file(path) if path.is_file() else None

    def _same(self, path: Path, recorded: Mapping[str, Any], stamp: dict[str, Any], keys: tuple[str, ...]) -> None:
        for key in keys:
            self._is(path, key, recorded.get(key), stamp[key])

    def _is(self, path: Path, what: str, recorded: Any, here: Any) -> None:
        if recorded != here:
            self.problems.append(
                f"{path}: made from another {what} than is here; check out what it was made from, or make it again"
            )


def _accepted(params: Params, grid_name: str, layout: Layout) -> Iterator[tuple[Path, Path]]:
    """(file in results/, its accepted copy in runs/) of every profile and budget of a grid."""
    for needed in profiles_needed(params, grid_name):
        yield layout.profile(*needed), layout.accepted_record("profile", *needed)
    for where in dict.fromkeys((cell.dataset, cell.pair, cell.budget) for cell in cells(params, grid_name)):
        yield layout.accepted_budget(*where), layout.accepted_record("budget", *where)


def _tracked(lock: Path, results: Path) -> Iterator[tuple[Path, str]]:
    """(file, MD5) of every result that `dvc.lock` lists, folders opened by their listing in DVC's cache."""
    stages = (yaml.safe_load(lock.read_text(encoding="utf-8")) or {}).get("stages", {})
    outs = [out for stage in stages.values() for out in stage.get("outs", [])]
    outs = [
        out for out in outs if Path(out["path"]).is_relative_to(results) and "stamps" not in Path(out["path"]).parts
    ]
    cache = _dvc_cache() if outs else Path()
    for out in outs:
        path, digest = Path(out["path"]), str(out["md5"])
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


def _make_ours(path: Path) -> None:
    """Put a copy in the place of another user's file (a link into a shared cache): its times are not ours to set."""
    with written_atomically(path) as temporary:
        shutil.copyfile(path, temporary)


def _sync(params: Params, grid_name: str, layout: Layout, tell: Callable[[str], None]) -> None:
    """Fill MLflow, which is not copied with results/ either, and write the workflow's marks. A store out of reach is no error."""
    from isoclock.tracking import sync

    study = Study(params, grid_name, cells(params, grid_name), layout)
    try:
        summary = sync(
            layout.results,
            layout.runs,
            grid_name=grid_name,
            cells=[cell.as_dict() for cell in study.cells],
            teachers_of=datasets_needed(params, study.cells),
        )
    except UserError as error:
        tell(f"MLflow is left for later: {error}")
        return
    tell(summary.line)
    for mark in study.syncs():
        Path(mark).parent.mkdir(parents=True, exist_ok=True)
        Path(mark).touch()


def _touch(grid_name: str) -> None:
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--quiet", "all", "--touch", "--forceall"]
    done = subprocess.run(
        [*command, "--config", f"grid={grid_name}", "--", "all"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise UserError(f"snakemake --touch: {(done.stderr or done.stdout).strip().splitlines()[-1]}")
