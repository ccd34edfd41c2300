"""run.json: a training run that is not published yet."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from pydantic import ConfigDict, Field
from typing_extensions import TypedDict

from isoclock.records.document import Measured, Part
from isoclock.records.parts import StudentCell, TeacherCell
from isoclock.records.plan import Plan
from isoclock.schema import Count, Unix


class RunParams(TypedDict):
    """Resolved params, as the stamp has them: of a teacher `recipe` and `model`, of a student the others."""

    __pydantic_config__ = ConfigDict(strict=True, extra="forbid")  # type: ignore[misc]

    recipe: dict[str, Any]
    classes: list[str]
    model: NotRequired[dict[str, Any]]
    student: NotRequired[dict[str, Any]]
    teacher: NotRequired[dict[str, Any]]
    method: NotRequired[dict[str, Any]]


class RunDigests(Part):
    """SHA-256 of what a run depends on."""

    teacher: str | None  # its weights; None for a run without a teacher
    data: str
    code: str
    plan: str | None  # None for a teacher


class Planned(Part):
    """Iterations that a run trains for."""

    planned: Count


class Run(Measured):
    """`run.json` in the live folder of a run. Use `StudentRun` or `TeacherRun`."""

    schema_: Literal[2] = Field(alias="schema")
    run_id: str = Field(min_length=1)
    inputs: str  # SHA-256 of everything that the run depends on
    iterations: Planned
    params: RunParams
    digests: RunDigests
    started_unix: Unix


class StudentRun(Run):
    """A student's run.json."""

    kind: Literal["student"]
    cell: StudentCell
    plan: Plan


class TeacherRun(Run):
    """A teacher's run.json."""

    kind: Literal["teacher"]
    cell: TeacherCell
    plan: None
