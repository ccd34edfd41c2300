"""Checks of data sets and their recipes: images without labels, teachers that several data sets share, and their scores."""

from __future__ import annotations

from isoclock.hints import choices
from isoclock.params.load import Params
from isoclock.params.recipes import ROLES

FIELDS_SHARED_WITH_TEACHER = (
    "reader",
    "root",
    "val",
    "size",
    "storage",
    "white_16bit",
    "folder",
)  # of a data set and its `teacher_from`


def unlabelled_problems(params: Params, name: str) -> list[str]:
    """Recipes with images without labels: for a data set that has none, or for a teacher."""
    file, section = params.folder / "training.yaml", params.section(name)
    used_by = {role for role in ROLES if (r := params.recipe_if_any(name, role)) and r.unlabelled_per_batch}
    problems = []
    if "teacher" in used_by:
        problems.append(
            f"{file}: {section}.teacher.unlabelled_per_batch: a teacher learns from labels; move it to student"
        )
    if used_by and not params.datasets[name].has_unlabelled:
        problems.append(
            f"{file}: {section}.student.unlabelled_per_batch: {name} has no images without labels; set `unlabelled` or "
            "`labelled_images` in datasets.yaml"
        )
    return problems


def teacher_problems(params: Params, name: str) -> list[str]:
    """A `teacher_from` that does not exist or does not fit, and data sets with two recipes for teachers, or none."""
    where, recipes = f"{params.folder / 'datasets.yaml'}: {name}.teacher_from", params.folder / "training.yaml"
    entry, other = params.datasets[name], params.datasets[name].teacher_from
    own, trained = (params.recipe_if_any(name, role) is not None for role in ("teacher", "student"))
    if other is None:
        missing = f"{recipes}: {name}.teacher: missing; add a recipe for its teachers, or teacher_from in datasets.yaml"
        return [missing] if trained and not own else []
    problems = []
    if own:
        problems.append(
            f"{recipes}: {name}.teacher: the teachers of {name} are those of {other} (teacher_from in datasets.yaml); keep one"
        )
    if other == name:
        return [*problems, f"{where}: {other!r} is this data set; remove it"]
    if other not in params.datasets:
        known = choices(other, sorted(set(params.datasets) - {name}))
        return [*problems, f"{where}: unknown data set {other!r}; {known}"]
    theirs = params.datasets[other]
    if theirs.teacher_from is not None:
        problems.append(f"{where}: {other!r} has a teacher_from of its own; use {theirs.teacher_from} here")
    for key in FIELDS_SHARED_WITH_TEACHER:
        if (here := getattr(entry, key)) != (there := getattr(theirs, key)):
            problems.append(
                f"{where}: {key} of {other} is {there!r}, and that of {name} is {here!r}; must be equal, because a teacher has "
                "its students' classes and is scored on the same images"
            )
    return problems


def gate_problems(params: Params, grid: str) -> list[str]:
    """Scores that a grid demands of a teacher on a data set and pair that it does not have."""
    file, found = params.folder / "grids" / f"{grid}.yaml", params.grids[grid]
    return [
        f"{file}: teacher_miou_at_least.{dataset}.{pair}: no block has this pair on this data set; remove it"
        for dataset, demanded in found.teacher_miou_at_least.items()
        for pair in demanded
        if not any(dataset in block.datasets and pair in block.pairs for block in found.blocks)
    ]
