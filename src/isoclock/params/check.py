"""Checking params/ as a whole before anything runs. All problems are reported together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from isoclock.discovery import sources
from isoclock.errors import ParamsError
from isoclock.hints import choices
from isoclock.methods.card import IMPLEMENTATIONS, cards
from isoclock.models.card import architectures
from isoclock.params.check_datasets import gate_problems, teacher_problems, unlabelled_problems
from isoclock.params.credentials import credential_problems
from isoclock.params.load import Params, read_params
from isoclock.params.networks import checkpoint_problems, model_problems, network_problems
from isoclock.params.recipes import ROLES
from isoclock.params.tuning import tuning_problems
from isoclock.params.variants import whole_dataset, without_factor

FOLDER = Path("params")
SUFFIXES = tuple(f".{kind}" for kind in IMPLEMENTATIONS)
RESERVED_NAMES = ("accepted",)  # folders of results/plan that are not methods


def load_params(folder: Path = FOLDER) -> Params:
    """Everything under params/, checked. Raises ParamsError with every problem found, one line each."""
    if problems := credential_problems(folder):  # first: other problems are reported with their value
        raise ParamsError(problems)
    params = read_params(folder)
    problems = problems_of(params)
    if problems:
        raise ParamsError(problems)
    return params


def problems_of(params: Params) -> list[str]:
    """Names that do not exist and values that do not fit together, one line each."""
    problems: list[str] = []

    def known(file: str, key: str, name: str, table: Any, what: str) -> None:
        if what == "method" and (problem := params.implementation_problem(name)):
            problems.append(f"{params.folder / file}: {key}: {problem}")
        elif name not in table:
            there = choices(name, sorted(str(entry) for entry in table if not str(entry).endswith(SUFFIXES)))
            problems.append(f"{params.folder / file}: {key}: unknown {what} {name!r}; {there}")

    sections = dict.fromkeys(section for section, _role in params.recipes)
    for name, dataset in params.datasets.items():
        known(
            "datasets.yaml",
            f"{name}.reader",
            dataset.reader,
            sources("readers"),
            "reader",
        )
        for role in ROLES:
            recipe = params.recipe_if_any(name, role)
            if recipe and dataset.size and (recipe.crop[0] > dataset.size[0] or recipe.crop[1] > dataset.size[1]):
                problems.append(
                    f"{params.folder / 'training.yaml'}: {params.section(name)}: crop: {list(recipe.crop)} is larger than the "
                    f"images of {name}, {list(dataset.size)} (datasets.yaml); choose a smaller crop"
                )
        if dataset.recipe is not None:
            known("datasets.yaml", f"{name}.recipe", dataset.recipe, sections, "recipe")
        problems += unlabelled_problems(params, name)
        problems += teacher_problems(params, name)
    for name, model in params.models.items():
        known("models.yaml", f"models.{name}.architecture", model.architecture, architectures(), "architecture")
    problems += model_problems(params) + checkpoint_problems(params)
    for name, pair in params.pairs.items():
        known("models.yaml", f"pairs.{name}.teacher", pair.teacher, params.models, "model")
        known("models.yaml", f"pairs.{name}.student", pair.student, params.models, "model")
        known("models.yaml", f"pairs.{name}.profile", pair.profile, params.profiles, "profile set")
    chosen = {params.section(name) for name in params.datasets}
    for section in sections:  # `DATASET.RECIPE` may wait to be chosen
        if section not in chosen and not any(section.startswith(f"{name}.") for name in params.datasets):
            known("training.yaml", section, section, params.datasets, "data set")
    for name, method in params.methods.items():
        if name in RESERVED_NAMES or name.endswith(SUFFIXES):
            problems.append(f"{params.folder / 'methods.yaml'}: {name}: this name is taken; choose another")
        known("methods.yaml", f"{name}.method", method.method, cards(), "method")
        if method.method in cards():
            found = cards()[method.method].problems(
                method.params, implementation=method.implementation, active_terms=frozenset(method.weights)
            )
            file = params.folder / "methods.yaml"
            problems += [f"{file}: {name}.{_in_methods_yaml(problem, method.method)}" for problem in found]
            problems += [
                f"{file}: {name}.weights.{term}: missing; set its weight, or 0 to leave the term out"
                for term in cards()[method.method].terms
                if term not in method.weights
            ]
        problems += _extras_problems(params, name)
        for dataset_name in method.weights_for:
            known("methods.yaml", f"{name}.weights_for", dataset_name, params.datasets, "data set")
    for name, row in params.published.items():
        if row.method_name is not None:
            known("published.yaml", f"{name}.method_name", row.method_name, cards(), "method")
    variants = _variants(params)
    for name, budget in params.budgets.items():
        if budget.yardstick is not None:
            known("budgets.yaml", f"budgets.{name}.yardstick", budget.yardstick, variants, "method")
    for name, grid in params.grids.items():
        for number, block in enumerate(grid.blocks):
            where = f"blocks[{number}]"
            for entry in block.datasets:
                known(f"grids/{name}.yaml", f"{where}.datasets", whole_dataset(entry), params.datasets, "data set")
                for dataset_name in _trained_on(params, whole_dataset(entry)):
                    if not any(params.recipe_if_any(dataset_name, role) for role in ROLES):
                        file = params.folder / "training.yaml"
                        problems.append(f"{file}: {params.section(dataset_name)}: missing, and grid {name} needs it")
            for key, table, what in (
                ("pairs", params.pairs, "pair"),
                ("methods", variants, "method"),
                ("budgets", params.budgets, "budget"),
            ):
                for entry in getattr(block, key):
                    plain = without_factor(entry) if what == "method" else entry
                    known(f"grids/{name}.yaml", f"{where}.{key}", plain, table, what)
        problems += gate_problems(params, name)
    problems += tuning_problems(params)
    problems = problems or network_problems(params)
    return list(dict.fromkeys(problems))  # a mistake in `shared` is found for both roles


def _variants(params: Params) -> dict[str, None]:
    """Names of methods in grids and budgets: the entries, each also with `.reference` or `.tuned` appended."""
    names = dict.fromkeys(params.methods)
    for name, entry in params.methods.items():
        if entry.method in cards() and len(implementations := cards()[entry.method].implementations) > 1:
            names |= dict.fromkeys(f"{name}.{implementation}" for implementation in implementations)
    return names


def _extras_problems(params: Params, name: str) -> list[str]:
    """Everything that is wrong with the `extras` of a method entry."""
    where, method = f"{params.folder / 'methods.yaml'}: {name}.extras", params.methods[name]
    problems, terms = [], dict.fromkeys(method.weights, name)
    for extra in method.extras:
        if extra not in params.methods:
            problems.append(f"{where}: unknown method {extra!r}; {choices(extra, sorted(params.methods))}")
            continue
        entry = params.methods[extra]
        if entry.extras:
            problems.append(f"{where}: {extra!r} has extras of its own; list {', '.join(entry.extras)} here instead")
        for term in sorted(set(entry.active_terms()) & set(terms)):
            problems.append(f"{where}: {extra!r} has the term {term}, and so has {terms[term]}; keep one of them")
        terms |= dict.fromkeys(entry.active_terms(), extra)
    return problems


def _trained_on(params: Params, name: str) -> list[str]:
    """Data sets whose recipes a grid with data set `name` needs: its own, and that of its teachers."""
    if name not in params.datasets:
        return []
    return [one for one in dict.fromkeys((name, params.teacher_dataset(name))) if one in params.datasets]


def _in_methods_yaml(problem: str, method: str) -> str:
    """The same problem with its key in methods.yaml, where parameters are under `params` and terms under `weights`."""
    key, _, message = problem.removeprefix(f"{method}.").partition(": ")
    place = {"implementation": key, "terms": "weights"}.get(key, f"params.{key}")
    return f"{place}: {message}"
