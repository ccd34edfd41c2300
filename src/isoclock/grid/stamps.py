"""What a rule depends on in params/ and in code, written as small files that change only when the meaning changes.

Snakemake and DVC both read a stamp as an input, so both rerun the same cells. `isoclock.grid.code` computes the code part.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from isoclock.files import sha256_file, sha256_path, to_json, write_if_changed
from isoclock.grid.cells import Cell, cells
from isoclock.grid.code import code_digest
from isoclock.grid.dependencies import Job
from isoclock.grid.jobs import GridJobs
from isoclock.grid.layout import Layout
from isoclock.params.load import Params
from isoclock.params.schema import Entry, Model
from isoclock.protocol import KEY, VERSION

TEMPLATES = Path(__file__).parents[1] / "report" / "templates"


def refresh(params: Params, grid_name: str, layout: Layout) -> list[Path]:
    """Write the stamps of a grid that changed. Returns their paths."""
    return [
        path for path, content in stamps(params, grid_name, layout).items() if write_if_changed(path, to_json(content))
    ]


def add_missing(params: Params, grid_name: str, layout: Layout) -> list[Path]:
    """Write the missing stamps of a grid and leave the others. Returns the paths of those whose content would change."""
    changed = []
    for path, content in stamps(params, grid_name, layout).items():
        if not path.is_file():
            write_if_changed(path, to_json(content))
        elif path.read_bytes() != to_json(content).encode():
            changed.append(path)
    return changed


def stamps(params: Params, grid_name: str, layout: Layout) -> dict[Path, Any]:
    """Every stamp a grid's rules read, with its content."""
    found: dict[Path, Any] = {}
    for job in GridJobs.of_grid(params, grid_name, layout).all():
        for path in job.inputs.get("stamp", ()):
            if path not in found:  # the cells of a method share one, and each covers dozens of files of code
                found[path] = _content(params, job)
    return found


def _content(params: Params, job: Job) -> dict[str, Any]:
    names = tuple(job.wildcards.values())
    content: dict[str, Callable[[], dict[str, Any]]] = {
        "prepare": lambda: prepare_stamp(params, *names),
        "teacher": lambda: teacher_stamp(params, *names),
        "profile": lambda: profile_stamp(params, *names),
        "budget": lambda: budget_stamp(params, *names),
        "student": lambda: student_stamp(params, Cell.parse("/".join(names))),
        "evaluate": lambda: evaluate_stamp(params, names[0]),
        "evaluate_teacher": lambda: evaluate_stamp(params, names[0], "teacher"),
        "report": lambda: grid_stamp(params, *names),
    }
    return content[job.rule]()


def prepare_stamp(params: Params, dataset: str) -> dict[str, Any]:
    """What a prepared data set depends on."""
    entry = params.dataset(dataset)
    return {"dataset": _values(entry), "code": code_digest("prepare", f"data.readers.{entry.reader}")}


def teacher_stamp(params: Params, dataset: str, model: str) -> dict[str, Any]:
    """What a teacher depends on. Not the protocol's version: it is about costs and scores, and weights stay as they are."""
    entry, recipe = params.model(model), _values(params.recipe(dataset, "teacher"))
    if entry.checkpoint is not None:
        code = code_digest("import", f"models.{entry.architecture}")
        return {"recipe": {}, "model": _model_values(entry), "code": code}
    del recipe["teacher_inference"]  # how it runs for its students
    return {
        "recipe": recipe,
        "model": _model_values(entry),
        "code": code_digest("teacher", f"models.{entry.architecture}", "methods.none"),
    }


def cost_inputs(params: Params, dataset: str, pair_name: str, method: str) -> dict[str, Any]:
    """What a cost depends on: recipe, networks, method and active terms; not the weights' size, the code or the settings."""
    pair = params.pair(pair_name)
    parts = []
    for entry in params.method_parts(method, dataset):
        values = {key: value for key, value in _values(entry).items() if key not in ("weights", "extras")}
        parts.append({**values, "active_terms": entry.active_terms()})
    return {
        "recipe": _values(params.student_recipe(dataset, pair_name)),
        "teacher": _model_values(params.model(pair.teacher)),
        "student": _model_values(params.model(pair.student)),
        "method": parts,
    }


def profile_stamp(params: Params, dataset: str, pair_name: str, method: str) -> dict[str, Any]:
    """What a profile depends on."""
    modules = (*_pair_modules(params, pair_name), *_method_modules(params, method, dataset))
    return {
        KEY: VERSION,
        **cost_inputs(params, dataset, pair_name, method),
        "profile": _values(params.profile_settings(pair_name)),
        "code": code_digest("profile", *modules),
    }


def budget_stamp(params: Params, dataset: str, pair_name: str, name: str) -> dict[str, Any]:
    """What an accepted budget depends on: its entry, and recipe and networks of its yardstick's steps.

    Not the yardstick's own params and code: otherwise a change of one method would move the budget of all methods.
    """
    budget = params.budget(name)
    if budget.yardstick is None:
        return {KEY: VERSION, "budget": _values(budget)}
    about = cost_inputs(params, dataset, pair_name, budget.yardstick)
    del about["method"]
    return {KEY: VERSION, "budget": _values(budget), "yardstick": about}


def student_stamp(params: Params, cell: Cell) -> dict[str, Any]:
    """What a student depends on, except plan, teacher and data, which are inputs of their own."""
    modules = (*_pair_modules(params, cell.pair), *_method_modules(params, cell.method, cell.dataset))
    content = {KEY: VERSION, **student_values(params, cell), "code": code_digest("student", *modules)}
    # Another teacher may be older than a student of the previous one, so that its time alone would not cause a rerun.
    other = params.dataset(cell.dataset).teacher_from
    return content if other is None else {**content, "teacher_from": other}


def student_values(params: Params, cell: Cell) -> dict[str, Any]:
    """The values of params/ that a student is trained with, as its record has them."""
    pair, parts = params.pair(cell.pair), params.method_parts(cell.method, cell.dataset)
    return {
        "recipe": _values(params.student_recipe(cell.dataset, cell.pair, cell.method)),
        "teacher": _model_values(params.model(pair.teacher)),
        "student": _model_values(params.model(pair.student)),
        "method": {
            **_values(parts[0]),
            "extras": {n: _values(p) for n, p in zip(parts[0].extras, parts[1:], strict=True)},
        },
    }


def evaluate_stamp(params: Params, dataset: str, role: str = "student") -> dict[str, Any]:
    """What the scores of students or teachers depend on, except the network."""
    scoring = params.recipe(dataset, role).scoring.model_dump(mode="json")
    return {KEY: VERSION, "val": params.dataset(dataset).val, "scoring": scoring, "code": code_digest("evaluate")}


def grid_stamp(params: Params, name: str) -> dict[str, Any]:
    """What a grid's report depends on, except the results that it shows."""
    found = cells(params, name)
    chosen = params.tuned.get(name, {}) if params.grid(name).weights == "tuned" else {}
    return {
        KEY: VERSION,
        "cells": [cell.path for cell in found],
        "provenance": {cell.method: params.method(cell.method).provenance for cell in found},
        "tuned": {"/".join(key): entry.model_dump(mode="json") for key, entry in chosen.items()},
        "published": {name: row.model_dump(mode="json") for name, row in params.published.items()},
        "code": code_digest("report"),
        "templates": {path.name: sha256_file(path) for path in sorted(TEMPLATES.iterdir())},
    }


def _pair_modules(params: Params, pair_name: str) -> list[str]:
    pair = params.pair(pair_name)
    return sorted({f"models.{params.model(name).architecture}" for name in (pair.teacher, pair.student)})


def _method_modules(params: Params, method: str, dataset: str) -> list[str]:
    return [f"methods.{part.method}" for part in params.method_parts(method, dataset)]


def _model_values(model: Model) -> dict[str, Any]:
    """A model's values; a local weights file or folder, or a checkpoint, counts by its content."""
    values = _values(model)
    if model.checkpoint is not None:
        checkpoint = model.checkpoint.model_dump(include={"format", "sha256", "classes"})
        return {**values, "checkpoint": checkpoint}
    path = model.local_weights
    return values if path is None else {**values, "weights_sha256": sha256_path(path)}


def _values(entry: Entry) -> dict[str, Any]:
    # How images are scored does not change weights, a data set does not depend on its recipe or its teachers, weights not on
    # where they can be fetched, and nothing on a time limit.
    without = {"provenance", "scoring", "teacher_from", "loader_timeout_s", "recipe", "url", "sha256"}
    return entry.model_dump(mode="json", exclude=without)
