"""Reading params/ into typed entries.

`isoclock.params.check` checks whether the entries fit together (names that exist, crops that fit into images).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isoclock.errors import ParamsError
from isoclock.hints import choices
from isoclock.methods.card import IMPLEMENTATIONS, NOTHING_TO_GAIN, cards
from isoclock.params.recipes import read_recipes
from isoclock.params.schema import (
    Budget,
    Dataset,
    Grid,
    MethodEntry,
    Model,
    Pair,
    ProfileSettings,
    Published,
    Recipe,
    TunedWeights,
)
from isoclock.params.tuning import SWEEP, read_tuned, sweep_grid
from isoclock.params.variants import split_factor, split_held_out, whole_dataset, without_factor
from isoclock.params.yaml_file import EntryT, as_entry, as_mapping, read_entries, read_yaml
from isoclock.schema import NAME_RULE, is_name


@dataclass(frozen=True)
class Params:
    """Everything under params/, checked."""

    folder: Path
    datasets: Mapping[str, Dataset]
    models: Mapping[str, Model]
    pairs: Mapping[str, Pair]
    recipes: Mapping[tuple[str, str], Recipe]  # (section of training.yaml, role)
    methods: Mapping[str, MethodEntry]
    budgets: Mapping[str, Budget]
    profiles: Mapping[str, ProfileSettings]  # the sets of section `profile`
    grids: Mapping[str, Grid]
    published: Mapping[str, Published] = field(default_factory=dict)
    # By grid, then by (data set, pair, method): what `isoclock tune` wrote.
    tuned: Mapping[str, Mapping[tuple[str, str, str], TunedWeights]] = field(default_factory=dict)

    def grid(self, name: str) -> Grid:
        """The grid called `name`, or the sweep of a grid: `demo.sweep`. Raises ParamsError if there is none."""
        base = name.removesuffix(SWEEP)
        if name not in self.grids and base in self.grids:
            return sweep_grid(self.folder, base, self.grids[base])
        return self._one("grids", self.grids, name, "grid")

    def dataset(self, name: str) -> Dataset:
        """The data set called `name`, which may have a part held out. Raises ParamsError if there is none."""
        whole, held_out = split_held_out(name)
        entry = self._one("datasets.yaml", self.datasets, whole, "data set")
        if held_out is None:
            return entry
        if entry.held_out is not None:  # or its validation images would be trained on
            raise ParamsError(
                f"{self.folder / 'datasets.yaml'}: {whole}.held_out: {entry.held_out:g}: a part of train is scored already, so "
                f"there is no {name}; choose a data set with a split of its own for val"
            )
        return entry.holding_out(whole, held_out)

    def model(self, name: str) -> Model:
        """The model called `name`. Raises ParamsError if there is none."""
        return self._one("models.yaml", self.models, name, "model")

    def is_imported(self, model: str) -> bool:
        """Whether the weights of a model come from a checkpoint that was trained elsewhere."""
        return self.model(model).checkpoint is not None

    def pair(self, name: str) -> Pair:
        """The pair called `name`. Raises ParamsError if there is none."""
        return self._one("models.yaml", self.pairs, name, "pair")

    def method(self, name: str) -> MethodEntry:
        """The method variant called `name`, such as `kd`, or `kd.tuned` for the tuned implementation of `kd`.

        A factor in the name (`kd.x2`) is applied by `method_parts` and `student_recipe`. Raises ParamsError if there is none.
        """
        name = without_factor(name)
        if problem := self.implementation_problem(name):
            raise ParamsError(f"{self.folder / 'methods.yaml'}: {problem}")
        base, _, implementation = name.rpartition(".")
        if name not in self.methods and base in self.methods and implementation in IMPLEMENTATIONS:
            return self.methods[base].model_copy(update={"implementation": implementation})
        return self._one("methods.yaml", self.methods, name, "method")

    def implementation_problem(self, name: str) -> str | None:
        """What is wrong with a name such as `kd.tuned` if the method of `kd` has one implementation; otherwise None."""
        base, _, implementation = (name := without_factor(name)).rpartition(".")
        if name in self.methods or base not in self.methods or implementation not in IMPLEMENTATIONS:
            return None
        known = cards().get(self.methods[base].method)
        if known is None or len(known.implementations) > 1:
            return None
        return (
            f"{name!r}: method {known.name} has only `{known.implementations[0]}` ({NOTHING_TO_GAIN}); write {base!r}"
        )

    def method_parts(self, name: str, dataset: str) -> list[MethodEntry]:
        """The method variant called `name` and its extras, with their weights on `dataset`, its own times the factor in `name`."""
        method, (name, factor) = self.method(name), split_factor(name)
        extras = [self.method(extra) for extra in method.extras]
        if name not in self.methods:  # `.tuned` holds for the extras that have it too
            extras = [
                extra.model_copy(update={"implementation": method.implementation})
                if method.implementation in cards()[extra.method].implementations
                else extra
                for extra in extras
            ]
        own, *others = (part.on(whole_dataset(dataset)) for part in (method, *extras))
        return [own.times(factor), *others]

    def has_teacher(self, method: str, dataset: str) -> bool:
        """Whether students of a variant have a teacher: all except those of method `none`."""
        return any(part.method != "none" for part in self.method_parts(method, dataset))

    def budget(self, name: str) -> Budget:
        """The budget called `name`. Raises ParamsError if there is none."""
        return self._one("budgets.yaml", self.budgets, name, "budget")

    def profile_settings(self, pair: str) -> ProfileSettings:
        """How precisely the costs of `pair` are measured. Raises ParamsError if there is no such pair or set."""
        return self._one("budgets.yaml", self.profiles, self.pair(pair).profile, "profile set")

    @property
    def protocols(self) -> dict[str, str]:
        """The protocol of each budget, iteration or compute."""
        return {name: budget.protocol for name, budget in self.budgets.items()}

    def teacher_dataset(self, name: str) -> str:
        """Name of the data set that the teachers of data set `name` are trained on: by default, its own."""
        return self.dataset(name).teacher_from or name

    def recipe(self, dataset: str, role: str) -> Recipe:
        """How `role` (teacher or student) is trained on `dataset`.

        Raises ParamsError if there is no recipe, or if its teachers are those of another data set.
        """
        dataset, asked = whole_dataset(dataset), dataset
        if role == "teacher" and dataset in self.datasets and (other := self.teacher_dataset(asked)) != asked:
            raise ParamsError(
                f"{self.folder / 'datasets.yaml'}: {asked}.teacher_from: {other!r}: {asked} has no teachers of its own; "
                f"use those of {other}"
            )
        return self._one("training.yaml", self.recipes, (self.section(dataset), role), "recipe")

    def recipe_if_any(self, dataset: str, role: str) -> Recipe | None:
        """How `role` is trained on `dataset`; None if training.yaml does not say."""
        return self.recipes.get((self.section(dataset), role))

    def section(self, dataset: str) -> str:
        """Section of training.yaml with the recipes of `dataset`: by default, of the same name."""
        whole = whole_dataset(dataset)
        entry = self.datasets.get(whole)
        return whole if entry is None else entry.recipe or whole

    def student_recipe(self, dataset: str, pair: str, method: str = "none") -> Recipe:
        """How students of a pair are trained on `dataset`: the recipe, with the pair's own `teacher_inference` if it has one.

        The factor in `none.x2` is of the learning rate. Raises ParamsError if the rate is then below `min_lr`.
        """
        recipe, inference = self.recipe(dataset, "student"), self.pair(pair).teacher_inference
        if inference is not None:
            recipe = recipe.model_copy(update={"teacher_inference": inference})
        factor = split_factor(method)[1]
        if factor == 1 or self.method(method).method != "none":
            return recipe
        if recipe.lr * factor < recipe.min_lr:
            raise ParamsError(
                f"{self.folder / 'training.yaml'}: {dataset}.student.min_lr: {recipe.min_lr}: above the lr of {method}, "
                f"{recipe.lr * factor:g}; choose larger factors"
            )
        return recipe.model_copy(update={"lr": recipe.lr * factor})

    def _one(self, file: str, table: Mapping[Any, EntryT], name: Any, what: str) -> EntryT:
        if name not in table:
            known = choices(_spelled(name), sorted(_spelled(key) for key in table))
            raise ParamsError(f"{self.folder / file}: unknown {what} {_spelled(name)!r}; {known}")
        return table[name]


def read_params(folder: Path) -> Params:
    """Read all of params/, each entry by itself. Raises ParamsError with every problem found, one line each."""
    if not folder.is_dir():
        raise ParamsError(f"{folder}: no such folder; run isoclock in the folder that contains Snakefile and params/")
    problems: list[str] = []
    datasets = read_entries(folder / "datasets.yaml", Dataset, problems)
    models = read_entries(folder / "models.yaml", Model, problems, section="models")
    pairs = read_entries(folder / "models.yaml", Pair, problems, section="pairs")
    recipes = read_recipes(folder / "training.yaml", problems)
    methods = read_entries(folder / "methods.yaml", MethodEntry, problems)
    budgets = read_entries(folder / "budgets.yaml", Budget, problems, section="budgets")
    profiles = read_entries(folder / "budgets.yaml", ProfileSettings, problems, section="profile")
    _check_sections(folder / "budgets.yaml", problems)
    grids = {
        path.stem: grid
        for path in _grid_files(folder / "grids", problems)
        if (grid := _grid(path, problems)) is not None
    }
    tuned = {path.stem: read_tuned(path, problems) for path in _grid_files(folder / "tuned", problems)}
    rows = folder / "published.yaml"  # optional
    published = read_entries(rows, Published, problems) if rows.exists() or rows.is_symlink() else {}
    if problems:
        raise ParamsError(list(dict.fromkeys(problems)))
    return Params(folder, datasets, models, pairs, recipes, methods, budgets, profiles, grids, published, tuned)


def _grid_files(folder: Path, problems: list[str]) -> list[Path]:
    """The files of grids. Hidden files, such as editors leave them, do not count."""
    paths = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.startswith(".") or path.suffix.lower() not in (".yaml", ".yml"):
            continue
        if path.suffix != ".yaml":
            problems.append(f"{path}: not read, because its name does not end in .yaml; rename it")
        elif not is_name(path.stem):
            problems.append(f"{folder / ascii(path.name)[1:-1]}: the name of a grid: {NAME_RULE}; rename the file")
        else:
            paths.append(path)
    return paths


def _grid(path: Path, problems: list[str]) -> Grid | None:
    found: list[str] = []
    content = read_yaml(path, found)
    problems += found
    return None if found else as_entry(path, "", content, Grid, problems)


def _check_sections(path: Path, problems: list[str]) -> None:
    unknown = sorted(set(as_mapping(path, "", read_yaml(path, problems), problems)) - {"profile", "budgets"})
    problems += [f"{path}: {key}: unknown key; choose from profile, budgets" for key in unknown]


def _spelled(name: Any) -> str:
    return "/".join(name) if isinstance(name, tuple) else str(name)
