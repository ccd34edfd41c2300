"""Reading params/training.yaml: the recipe of a role is `shared` merged with the role's own keys."""

from __future__ import annotations

from pathlib import Path

from isoclock.params.schema import Recipe
from isoclock.params.yaml_file import as_entry, as_mapping, read_yaml, shown
from isoclock.schema import NAME_RULE, is_name

ROLES = ("teacher", "student")


def read_recipes(path: Path, problems: list[str]) -> dict[tuple[str, str], Recipe]:
    """The valid recipes of a file by (data set, role). Appends a line to `problems` for each mistake."""
    recipes: dict[tuple[str, str], Recipe] = {}
    for dataset, sections in as_mapping(path, "", read_yaml(path, problems), problems).items():
        if not is_name(dataset):
            problems.append(f"{path}: {dataset}: {NAME_RULE}; rename it")
            continue
        sections = as_mapping(path, dataset, sections, problems)
        unknown = sorted(set(sections) - {"shared", *ROLES})
        problems += [f"{path}: {dataset}.{key}: unknown key; choose from shared, teacher, student" for key in unknown]
        shared = as_mapping(path, f"{dataset}.shared", sections.get("shared") or {}, problems)
        for role in ROLES:
            if role == "teacher" and role not in sections:
                continue  # teachers may be those of another data set, which `isoclock.params.check` checks
            own = as_mapping(path, f"{dataset}.{role}", sections.get(role) or {}, problems)
            twice = sorted((set(shared) & set(own)) - {"provenance"})
            problems += [
                f"{path}: {dataset}.{role}.{key}: {shown(own[key])}: also under shared ({shown(shared[key])}); keep one"
                for key in twice
            ]
            if (role == "teacher") != ("iterations" in own):
                wrong = "missing; a teacher needs it" if role == "teacher" else "planned for students; remove it"
                problems.append(f"{path}: {dataset}.{role}.iterations: {wrong}")
            provenance = {
                key: source
                for name, section in (("shared", shared), (role, own))
                for key, source in as_mapping(
                    path, f"{dataset}.{name}.provenance", section.get("provenance") or {}, problems
                ).items()
            }
            found: list[str] = []
            recipe = as_entry(path, f"{dataset}.{role}", {**shared, **own, "provenance": provenance}, Recipe, found)
            # A mistake under `shared` is found for both roles. It is reported once, with its own key.
            for key in shared:
                here = f"{path}: {dataset}.{role}.{key}"
                found = [line.replace(here, f"{path}: {dataset}.shared.{key}", 1) for line in found]
            problems += [line for line in found if line not in problems]
            if recipe is not None:
                recipes[dataset, role] = recipe
    return recipes
