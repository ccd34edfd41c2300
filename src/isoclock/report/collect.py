"""Read a results folder into tidy rows: one a cell of the grid, holes included."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any

from isoclock.budget.audit import TOLERANCE
from isoclock.errors import ArtifactError
from isoclock.files import read_json
from isoclock.grid.cells import Cell
from isoclock.records.protocol import VERSION, version_of

FINISHED, DIVERGED, MISSING = "finished", "diverged", "missing"

"""A cell whose spent time leaves its plan by more than this share is marked in every table that uses it."""


@dataclass(frozen=True)
class CellRow:
    """One cell. Seconds and anchor-steps are of training alone; IoUs lie in 0..1; None is "not known", never 0."""

    dataset: str
    pair: str
    method: str
    budget: str
    seed: int
    status: str
    message: str = ""
    protocol: str = ""
    protocol_version: int = VERSION  # of the whole table; a cell of another one is a hole in it
    yardstick: str | None = None
    implementation: str | None = None
    device_kind: str | None = None
    iterations_planned: int | None = None
    iterations_done: int | None = None
    unlabelled_per_batch: int | None = None
    epochs_labelled: float | None = None
    epochs_unlabelled: float | None = None
    planned_s: float | None = None
    spent_s: float | None = None
    planned_anchor_steps: float | None = None
    spent_anchor_steps: float | None = None
    lost_s: float | None = None
    evaluate_s: float | None = None
    cost_ratio: float | None = None
    cost_low: float | None = None
    cost_high: float | None = None
    peak_mib: float | None = None
    miou: float | None = None
    pixel_accuracy: float | None = None
    teacher_miou: float | None = None
    marks: tuple[str, ...] = ()
    metrics: dict[str, float | None] = field(default_factory=dict)  # all but mIoU, by name
    per_class_iou: dict[str, float | None] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """The cell's folder below `student/` and `evaluate/`."""
        return Cell(self.dataset, self.pair, self.method, self.budget, self.seed).path

    def tidy(self) -> dict[str, Any]:
        """The row for cells.csv: flat, marks joined; per-class IoU and metrics are left out."""
        flat = asdict(self)
        del flat["per_class_iou"], flat["metrics"]
        return flat | {"marks": "; ".join(self.marks)}


@dataclass(frozen=True)
class Study:
    """Everything a report shows, read once: `teachers` by (dataset, pair), `profiles` by (dataset, pair, method).

    All of it is of one `version` of the protocol; what lies there of another one is in no table.
    """

    results: Path
    rows: tuple[CellRow, ...]
    profiles: dict[tuple[str, str, str], dict[str, Any]]
    teachers: dict[tuple[str, str], dict[str, Any]]
    records: dict[str, dict[str, Any]]
    audit: tuple[dict[str, Any], ...]
    version: int = VERSION

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """(dataset, pair) in the grid's order."""
        return list(dict.fromkeys((row.dataset, row.pair) for row in self.rows))

    def of_pair(self, dataset: str, pair: str) -> list[CellRow]:
        """The rows of one pair, in the grid's order."""
        return [row for row in self.rows if (row.dataset, row.pair) == (dataset, pair)]

    def methods(self, dataset: str, pair: str) -> list[str]:
        """A pair's methods in the grid's order."""
        return list(dict.fromkeys(row.method for row in self.of_pair(dataset, pair)))


def collect(
    results: Path,
    cells: Sequence[dict[str, Any]],
    audit: Sequence[dict[str, Any]] = (),
    protocols: Mapping[str, str] = MappingProxyType({}),
) -> Study:
    """Read what `results` holds of `cells` (dicts of dataset, pair, method, budget, seed).

    `protocols` has the protocol of each budget (`Params.protocols`), for cells that have neither a record nor a plan.

    A cell without record or scores becomes a row with status "missing" that says what to run; so does one of another version of
    the protocol than the table's. That is the newest of the cells' versions. Raises ArtifactError, with all problems at once, for
    files that are there but cannot be read.
    """
    problems: list[str] = []
    keys = [tuple(str(cell[part]) for part in ("dataset", "pair", "method", "budget", "seed")) for cell in cells]

    def read(path: Path, verb: str) -> dict[str, Any] | None:
        if not path.is_file():
            return None
        try:
            content: dict[str, Any] = read_json(path, verb)
            return content
        except ArtifactError as error:
            problems.extend(error.problems)
            return None

    records = {"/".join(key): read(results / "student" / "/".join(key) / "record.json", "student") for key in keys}
    there = {path: record for path, record in records.items() if record is not None}
    profiles = {}
    for dataset, pair, method in dict.fromkeys(key[:3] for key in keys):
        profile = read(results / "profile" / dataset / pair / f"{method}.json", "profile")
        if profile is not None:
            profiles[dataset, pair, method] = profile
    version = max(map(version_of, there.values() or profiles.values()), default=VERSION)
    found = {path: record for path, record in there.items() if version_of(record) == version}
    profiles = {key: profile for key, profile in profiles.items() if version_of(profile) == version}
    teachers = _teachers(results, [(key[0], key[1]) for key in keys], found, read, version)
    spent = {_cell_path(row["cell"]): row for row in audit if version_of(row) == version}
    rows = []
    for key in keys:
        dataset, pair, method, budget, seed = key
        path = "/".join(key)
        plan = read(results / "plan" / dataset / pair / method / f"{budget}.json", "plan")
        plan = plan if plan is None or version_of(plan) == version else None
        scores = read(results / "evaluate" / path / "scores.json", "evaluate")
        profile = profiles.get((dataset, pair, method))
        teacher = teachers.get((dataset, pair))
        rows.append(
            CellRow(
                dataset, pair, method, budget, int(seed),
                **_outcome(path, there.get(path), scores, spent.get(path), version),
                **_planned(protocols.get(budget, ""), found.get(path), plan),
                **_images(found.get(path)),
                **_spent(found.get(path), spent.get(path)),
                **_cost(profile),
                protocol_version=version,
                teacher_miou=teacher["miou"] if teacher else None,
                marks=_other_version(there.get(path), version) or _marks(found.get(path), plan, profile, spent.get(path)),
            )
        )  # fmt: skip
    if problems:
        raise ArtifactError(list(dict.fromkeys(problems)))
    audited = tuple(row for row in spent.values() if _cell_path(row["cell"]) in records)
    return Study(results, tuple(rows), profiles, teachers, found, audited, version)


def _outcome(
    path: str,
    record: dict[str, Any] | None,
    scores: dict[str, Any] | None,
    audited: dict[str, Any] | None,
    version: int,
) -> dict[str, Any]:
    """Status and scores. Scores of other weights than the record's are not this run's, so they are a hole as well."""
    if record is None:
        return {"status": MISSING, "message": f"not trained: no student/{path}/record.json; run `isoclock student`"}
    if version_of(record) != version:
        return {
            "status": MISSING,
            "message": f"trained under version {version_of(record)} of the protocol, and this table is of version {version}; train "
            f"it again: `isoclock student {path}`",
        }
    if audited and "mixed-hardware" in audited.get("marks", ()):
        return {
            "status": MISSING,
            "message": f"trained in parts on unlike hardware; remove runs/student/{path} and train it again",
        }
    if record["status"] == DIVERGED:
        return {"status": DIVERGED, "message": record.get("message") or "the loss left the finite numbers"}
    if scores is None:
        return {
            "status": MISSING,
            "message": f"trained, not scored: no evaluate/{path}/scores.json; run `isoclock evaluate`",
        }
    if version_of(scores) != version:
        return {
            "status": MISSING,
            "message": f"scored under version {version_of(scores)} of the protocol, and this table is of version {version}; run "
            "`isoclock evaluate`",
        }
    if scores["status"] == DIVERGED:
        return {"status": DIVERGED, "message": "the network's outputs are not finite"}
    trained = record.get("digests", {}).get("weights")
    if trained and scores.get("weights") and trained != scores["weights"]:
        return {
            "status": MISSING,
            "message": "the scores are of other weights than the record's; run `isoclock evaluate`",
        }
    names = ("miou", "metrics", "per_class_iou")
    found = {name: scores[name] for name in names} | {"pixel_accuracy": scores["metrics"].get("pixel_accuracy")}
    return {"status": record["status"], "message": record.get("message", "")} | found


def _other_version(record: dict[str, Any] | None, version: int) -> tuple[str, ...]:
    """The mark of a cell that was trained under another version of the protocol than the table's; no mark otherwise."""
    if record is None or version_of(record) == version:
        return ()
    return (f"protocol version {version_of(record)}",)


def _planned(protocol: str, record: dict[str, Any] | None, plan: dict[str, Any] | None) -> dict[str, Any]:
    """What was planned, as the run itself saw it; the plan on disk speaks only for cells that have not run."""
    plan = (record or {}).get("plan") or plan or {}
    iterations = (record or {}).get("iterations", {})
    return {
        "protocol": plan.get("protocol") or protocol,
        "yardstick": plan.get("yardstick"),
        "iterations_planned": iterations.get("planned", plan.get("iterations")),
        "iterations_done": iterations.get("done"),
        "planned_s": plan.get("planned_s"),
        "planned_anchor_steps": plan.get("anchor_steps"),
    }


def _images(record: dict[str, Any] | None) -> dict[str, Any]:
    """How often a run saw its images, with labels and without."""
    if record is None:
        return {}
    epochs = record.get("epochs", {})
    return {
        "unlabelled_per_batch": record["params"].get("recipe", {}).get("unlabelled_per_batch", 0),
        "epochs_labelled": epochs.get("labelled"),
        "epochs_unlabelled": epochs.get("unlabelled"),
    }


def _spent(record: dict[str, Any] | None, audited: dict[str, Any] | None) -> dict[str, Any]:
    if record is None:
        return {}
    clock, segments = record["clock"], record.get("segments", [])
    steps = [segment.get("anchor_steps") for segment in segments if segment.get("iterations")]
    measured = sum(steps) if steps and None not in steps else None
    return {
        "spent_s": audited["spent_s"] if audited else clock["train_s"],
        "spent_anchor_steps": audited["spent_anchor_steps"] if audited else measured,
        "lost_s": clock.get("lost_s"),
        "evaluate_s": clock.get("evaluate_s"),
        "device_kind": record.get("hardware", {}).get("device_kind"),
    }


def _cost(profile: dict[str, Any] | None) -> dict[str, Any]:
    if profile is None:
        return {}
    cost = profile["cost"]
    return {
        "implementation": profile["implementation"],
        "cost_ratio": cost["ratio"],
        "cost_low": cost["low"],
        "cost_high": cost["high"],
        "peak_mib": profile.get("peak_mib"),
    }


def _marks(
    record: dict[str, Any] | None,
    plan: dict[str, Any] | None,
    profile: dict[str, Any] | None,
    audited: dict[str, Any] | None,
) -> tuple[str, ...]:
    """Everything a reader must know before using the cell's numbers, once each."""
    plan = (record or {}).get("plan") or plan
    marks = [mark for source in (profile, plan, audited) if source for mark in source.get("marks", [])]
    # The cell's status says it already, and says it for cells nobody audited too.
    marks = [mark for mark in marks if mark != DIVERGED]
    if audited and not audited.get("marks") and abs(audited.get("deviation") or 0) > TOLERANCE:
        marks.append(f"spent {100 * audited['deviation']:+.1f} % of plan")
    if record and record["status"] == FINISHED and record["iterations"]["done"] != record["iterations"]["planned"]:
        marks.append("short of plan")
    if record and profile and record.get("hardware", {}).get("device_kind") not in (None, profile["device_kind"]):
        marks.append("profiled on another device kind")
    return tuple(dict.fromkeys(marks))


def _teachers(
    results: Path,
    pairs: Sequence[tuple[str, str]],
    records: dict[str, dict[str, Any]],
    read: Callable[[Path, str], dict[str, Any] | None],
    version: int,
) -> dict[tuple[str, str], dict[str, Any]]:
    """Each pair's teacher scores: by the digest its students recorded, else the data set's only teacher.

    The teacher with that digest is looked for among the data set's own, and then, since it may be shared, among all others.
    Scores of another version of the protocol than the table's are passed over; whose weights they are of does not matter.
    """

    def scored(dataset: str) -> list[dict[str, Any]]:
        paths = sorted((results / "teacher" / dataset).glob("*/scores.json"))
        return [
            scores | {"model": path.parent.name}
            for path in paths
            if (scores := read(path, "evaluate")) is not None and version_of(scores) == version
        ]

    chosen = {}
    everywhere = sorted(path.name for path in (results / "teacher").glob("*"))
    for dataset, pair in dict.fromkeys(pairs):
        used = {
            record.get("digests", {}).get("teacher")
            for path, record in records.items()
            if path.startswith(f"{dataset}/{pair}/")
        } - {None}
        found = scored(dataset)
        if used:
            others = (scored(name) for name in everywhere if name != dataset)
            matching = ([one for one in some if one.get("weights") in used] for some in chain([found], others))
            found = next(filter(None, matching), [])
        if len(found) == 1:
            chosen[dataset, pair] = found[0]
    return chosen


def _cell_path(cell: dict[str, Any]) -> str:
    return Cell(**cell).path
