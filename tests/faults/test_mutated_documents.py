"""Mutated documents, ledgers and arrays of a study, through the verbs that read them: status 0, or 2 and one line for each."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import documents
from isoclock.cli.main import main
from isoclock.records.document import write
from isoclock.tracking.records import read_sources
from tiny_study import TinyStudy, cell

pytestmark = [
    pytest.mark.xdist_group("faults"),
    pytest.mark.timeout(1800),
    pytest.mark.slow,
    pytest.mark.target("1,000 mutated documents: no traceback, no hang, no other value accepted"),
    pytest.mark.filterwarnings("ignore:.*not an event", "ignore:.*are not events"),
]
MUTATIONS = 1000
CELLS = [cell(method, budget) for method in ("none", "kd", "mgd") for budget in ("iteration-6", "compute-6")]
VERBS = (
    "audit --grid toy",
    "report --grid toy --table-only",
    "plan --dry --grid toy",
    "plan streets tiny compute-6 kd",
)
VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 7, 1.5, 10**30, 10**400, 1e308, float("nan"), float("inf")),
    *("", "x", "-1", "\0", "../x", [], [1], ["x"], [[]], {}, {"a": 1}, "9" * 5000),
)
EVENTS = (
    {"event": "start", "iteration": 0, "train_s": 0.0, "run_id": "a" * 32},
    *(
        {"event": "train", "iteration": i, "loss": 1.0, "terms": {"ce": 1.0}, "lr": 0.1, "train_s": i / 10}
        for i in (1, 2)
    ),
    {"event": "evaluate", "iteration": 2, "miou": 0.5, "per_class": {"road": 0.5}},
    {"event": "checkpoint", "iteration": 2, "io_s": 0.1, "bytes": 7},
)


def put_documents(study: TinyStudy) -> list[Path]:
    """A study in which every verb finds what it reads; returns the files."""
    layout = study.layout
    ledger = "".join(json.dumps({"unix": 1e9, **event}) + "\n" for event in EVENTS)
    for one in CELLS:
        write(layout.student(one) / "record.json", documents.student_record(one))
        write(layout.student_run(one) / "run.json", documents.student_run(one))
        write(layout.evaluation(one) / "scores.json", documents.scores(one))
        write(layout.plan(one.dataset, one.pair, one.method, one.budget), documents.plan(one))
        write(layout.profile(one.dataset, one.pair, one.method), documents.profile(one.method))
        counts = np.eye(3, dtype=np.int64)
        arrays: dict[str, Any] = {"total": counts, "per_image": np.stack([counts] * 2), "names": np.array(["a", "b"])}
        np.savez_compressed(layout.evaluation(one) / "confusion.npz", **arrays)
        for folder in (layout.student(one), layout.student_run(one)):
            (folder / "ledger.jsonl").write_text(ledger)
    write(layout.teacher("streets", "small") / "record.json", documents.teacher_record())
    write(layout.teacher("streets", "small") / "scores.json", documents.scores(None))
    write(layout.accepted_budget("streets", "tiny", "compute-6"), documents.accepted_budget())
    write(layout.prepared_index("streets"), documents.index())
    return sorted(path for root in (layout.results, layout.runs) for path in root.rglob("*") if path.is_file())


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*at, key))


def mutated(draw: random.Random, path: Path, content: bytes) -> bytes:
    """Another byte, a cut, a hole, or (of JSON) a value of another type or a missing key."""
    place, kind = draw.randrange(len(content)), draw.random()
    if kind < 0.15:
        return content[:place] + draw.randbytes(1) + content[place + 1 :]
    if kind < 0.2:
        return content[:place]
    if kind < 0.25 or path.suffix == ".npz":
        return content[:place] + bytes(draw.randrange(1, 4096)) + content[place:]
    lines = content.splitlines() if path.suffix == ".jsonl" else [content]
    number = draw.randrange(len(lines))
    root = {"": json.loads(lines[number])}
    *parents, key = draw.choice(list(places(root))[1:])
    holder: Any = root
    for parent in parents:
        holder = holder[parent]
    if parents and draw.random() < 0.1:
        del holder[key]
    else:
        holder[key] = draw.choice(VALUES)
    lines[number] = json.dumps(root[""]).encode()
    return b"\n".join([*lines, b""])


def test_every_mutation_is_read_or_refused_in_one_line(
    empty_study: TinyStudy,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    record_property: Callable[[str, object], None],
) -> None:
    record_property("cases", MUTATIONS)
    monkeypatch.chdir(empty_study.folder)
    files, draw, refused = put_documents(empty_study), random.Random(0), 0
    assert [main(verb.split()) for verb in VERBS] == [0] * len(VERBS)
    whole = {path: path.read_bytes() for path in files}
    for _ in range(MUTATIONS):
        path = draw.choice(files)
        path.write_bytes(mutated(draw, path, whole[path]))
        capsys.readouterr()
        for verb in VERBS:
            status, lines = main(verb.split()), capsys.readouterr().err.splitlines()
            assert (status == 2) == bool(lines), (verb, path, lines)
            assert all(line.startswith("isoclock: ") for line in lines)
            refused += status == 2
        problems: list[str] = []
        read_sources(empty_study.layout, CELLS, problems)
        for changed in files:  # by the mutation, and by `plan`
            changed.write_bytes(whole[changed])
    assert refused > MUTATIONS / 4
