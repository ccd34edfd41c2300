"""What a study was made with, as the page states it."""

from __future__ import annotations

import time
from collections.abc import Iterable

from isoclock import __version__
from isoclock.report import format
from isoclock.report.collect import Study

_ARITHMETIC = (
    "precision", "loss_precision", "matmul_precision", "cudnn_benchmark", "teacher_inference", "compile",
)  # fmt: skip


def trained_between(study: Study) -> str:
    """When the cells were trained, in UTC; empty if none was. The page has no other date: equal results are equal bytes."""
    records = study.records.values()
    if not records:
        return ""
    ends = (min(one.started_unix for one in records), max(one.ended_unix for one in records))
    first, last = (time.strftime("%Y-%m-%d %H:%M", time.gmtime(unix)) for unix in ends)
    return f"{first} to {last} UTC"


def commits(study: Study) -> str:
    """The Git commits that the cells were trained from, and a dash where records have none."""
    return _values(record.environment.get("commit") for record in study.records.values())


def provenance(study: Study) -> list[tuple[str, str]]:
    """What the cells were made with; several values of one thing are all shown, since they may explain a difference."""
    records = list(study.records.values())
    packages = sorted({name for record in records for name in record.environment} - {"commit"})
    environment = "; ".join(
        f"{name} {_values(record.environment.get(name) for record in records)}" for name in packages
    )
    hardware = [record.hardware for record in records]
    devices, kinds = _values(one.device for one in hardware), _values((one.device_kind for one in hardware), "; ")
    recipes = [record.params["recipe"] for record in records]
    arithmetic = "; ".join(f"{key} {_values(recipe.get(key) for recipe in recipes)}" for key in _ARITHMETIC)
    trained_s = sum(record.clock.train_s for record in records)
    lost_s = sum(record.clock.lost_s for record in records)
    digests = {
        "data": _values(record.digests.data for record in records),
        "teacher": _values(record.digests.teacher for record in records),
        "code": _values(record.digests.code for record in records),
    }
    return [
        ("protocol version", str(study.version)),
        ("trained", trained_between(study) or format.NOTHING),
        ("commit", commits(study)),
        ("devices", f"{devices}: {kinds}; {_values(one.threads for one in hardware)} threads"),
        ("arithmetic", arithmetic),
        ("environment", environment or format.NOTHING),
        (
            "time trained, all cells",
            f"{format.seconds(trained_s)}; lost with killed segments: {format.seconds(lost_s)}",
        ),
        *((f"{name} digest", ", ".join(value[:12] for value in text.split(", "))) for name, text in digests.items()),
        ("isoclock", __version__),
    ]


def _values(of: Iterable[object], between: str = ", ") -> str:
    return between.join(sorted({str(value) for value in of if value is not None})) or format.NOTHING
