"""Reading params/: YAML to typed entries, with every mistake reported as one line naming file, key and value.

Whether the entries go together (names that point somewhere, crops that fit) is told by `isoclock.params.check`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from isoclock.errors import ParamsError
from isoclock.methods.card import IMPLEMENTATIONS
from isoclock.params.schema import (
    Budget,
    Dataset,
    Grid,
    Method,
    Model,
    Pair,
    ProfileSettings,
    Published,
    Recipe,
)

ROLES = ("teacher", "student")

EntryT = TypeVar("EntryT", bound=BaseModel)


@dataclass(frozen=True)
class Params:
    """Everything under params/, checked."""

    folder: Path
    datasets: Mapping[str, Dataset]
    models: Mapping[str, Model]
    pairs: Mapping[str, Pair]
    recipes: Mapping[tuple[str, str], Recipe]  # (dataset, role)
    methods: Mapping[str, Method]
    budgets: Mapping[str, Budget]
    profile: ProfileSettings
    grids: Mapping[str, Grid]
    published: Mapping[str, Published] = field(default_factory=dict)

    def grid(self, name: str) -> Grid:
        """The grid called `name`. Raises ParamsError if there is none."""
        return self._one("grids", self.grids, name, "grid")

    def dataset(self, name: str) -> Dataset:
        """The data set called `name`. Raises ParamsError if there is none."""
        return self._one("datasets.yaml", self.datasets, name, "data set")

    def model(self, name: str) -> Model:
        """The model called `name`. Raises ParamsError if there is none."""
        return self._one("models.yaml", self.models, name, "model")

    def pair(self, name: str) -> Pair:
        """The pair called `name`. Raises ParamsError if there is none."""
        return self._one("models.yaml", self.pairs, name, "pair")

    def method(self, name: str) -> Method:
        """The method variant called `name`, such as `kd`, or `kd.tuned` for another implementation than its entry's.

        Raises ParamsError if there is none.
        """
        base, _, implementation = name.rpartition(".")
        if name not in self.methods and base in self.methods and implementation in IMPLEMENTATIONS:
            return self.methods[base].model_copy(update={"implementation": implementation})
        return self._one("methods.yaml", self.methods, name, "method")

    def method_parts(self, name: str, dataset: str) -> list[Method]:
        """The method variant called `name` and its extras, with their weights on `dataset`."""
        method = self.method(name)
        extras = [self.method(extra) for extra in method.extras]
        if name not in self.methods:  # `.tuned` is said of all that is trained
            extras = [extra.model_copy(update={"implementation": method.implementation}) for extra in extras]
        return [part.on(dataset) for part in (method, *extras)]

    def has_teacher(self, method: str, dataset: str) -> bool:
        """Whether students of a variant learn from a teacher: all but those of method `none`."""
        return any(part.method != "none" for part in self.method_parts(method, dataset))

    def budget(self, name: str) -> Budget:
        """The budget called `name`. Raises ParamsError if there is none."""
        return self._one("budgets.yaml", self.budgets, name, "budget")

    def teacher_dataset(self, name: str) -> str:
        """Name of the data set whose teachers teach on the data set called `name`: its own, if nothing else is said."""
        return self.dataset(name).teacher_from or name

    def recipe(self, dataset: str, role: str) -> Recipe:
        """How `role` (teacher or student) is trained on `dataset`.

        Raises ParamsError if nothing is said of it, or if its teachers are those of another data set.
        """
        if role == "teacher" and dataset in self.datasets and (other := self.teacher_dataset(dataset)) != dataset:
            raise ParamsError(
                f"{self.folder / 'datasets.yaml'}: {dataset}.teacher_from: {other!r}: {dataset} has no teachers of its own; "
                f"ask for those of {other}"
            )
        return self._one("training.yaml", self.recipes, (dataset, role), "recipe")

    def _one(self, file: str, table: Mapping[Any, EntryT], name: Any, what: str) -> EntryT:
        if name not in table:
            known = ", ".join(sorted(_spelled(key) for key in table))
            raise ParamsError(f"{self.folder / file}: there is no {what} {_spelled(name)!r}; there are: {known}")
        return table[name]


def read_params(folder: Path) -> Params:
    """Read all of params/, each entry by itself. Raises ParamsError with every problem found, one line each."""
    if not folder.is_dir():
        raise ParamsError(f"{folder}: no such folder; run isoclock where Snakefile and params/ lie")
    problems: list[str] = []
    datasets = _entries(folder / "datasets.yaml", Dataset, problems)
    models = _entries(folder / "models.yaml", Model, problems, section="models")
    pairs = _entries(folder / "models.yaml", Pair, problems, section="pairs")
    recipes = _recipes(folder / "training.yaml", problems)
    methods = _entries(folder / "methods.yaml", Method, problems)
    budgets = _entries(folder / "budgets.yaml", Budget, problems, section="budgets")
    profile = _profile_settings(folder / "budgets.yaml", problems)
    grids = {
        path.stem: grid
        for path in sorted((folder / "grids").glob("*.yaml"))
        if (grid := _typed(path, "", _yaml(path, problems), Grid, problems)) is not None
    }
    rows = folder / "published.yaml"  # a study without published rows needs no such file
    published = _entries(rows, Published, problems) if rows.is_file() else {}
    if problems or profile is None:
        raise ParamsError(list(dict.fromkeys(problems)))
    return Params(folder, datasets, models, pairs, recipes, methods, budgets, profile, grids, published)


def _recipes(path: Path, problems: list[str]) -> dict[tuple[str, str], Recipe]:
    recipes: dict[tuple[str, str], Recipe] = {}
    for dataset, sections in _mapping(path, "", _yaml(path, problems), problems).items():
        sections = _mapping(path, dataset, sections, problems)
        unknown = sorted(set(sections) - {"shared", *ROLES})
        problems += [f"{path}: {dataset}.{key}: unknown key; there are: shared, teacher, student" for key in unknown]
        shared = _mapping(path, f"{dataset}.shared", sections.get("shared") or {}, problems)
        for role in ROLES:
            if role == "teacher" and role not in sections:
                continue  # teachers may be another data set's: `isoclock.params.check` tells where they are not
            own = _mapping(path, f"{dataset}.{role}", sections.get(role) or {}, problems)
            twice = sorted((set(shared) & set(own)) - {"provenance"})
            problems += [
                f"{path}: {dataset}.{role}.{key}: {own[key]!r}: also under shared ({shared[key]!r}); say it once"
                for key in twice
            ]
            if (role == "teacher") != ("iterations" in own):
                wrong = (
                    "missing; a teacher has a number"
                    if role == "teacher"
                    else "a student's number is planned; remove it"
                )
                problems.append(f"{path}: {dataset}.{role}.iterations: {wrong}")
            provenance = {
                key: source
                for name, section in (("shared", shared), (role, own))
                for key, source in _mapping(
                    path, f"{dataset}.{name}.provenance", section.get("provenance") or {}, problems
                ).items()
            }
            found: list[str] = []
            recipe = _typed(path, f"{dataset}.{role}", {**shared, **own, "provenance": provenance}, Recipe, found)
            # What is wrong under `shared` is wrong for both roles, and is told once, where it stands.
            for key in shared:
                here = f"{path}: {dataset}.{role}.{key}"
                found = [line.replace(here, f"{path}: {dataset}.shared.{key}", 1) for line in found]
            problems += [line for line in found if line not in problems]
            if recipe is not None:
                recipes[dataset, role] = recipe
    return recipes


def _profile_settings(path: Path, problems: list[str]) -> ProfileSettings | None:
    content = _mapping(path, "", _yaml(path, problems), problems)
    unknown = sorted(set(content) - {"profile", "budgets"})
    problems += [f"{path}: {key}: unknown key; there are: profile, budgets" for key in unknown]
    if not content and any(problem.startswith(f"{path}: ") for problem in problems):
        return None  # it could not be read, which has been told
    return _typed(path, "profile", content.get("profile"), ProfileSettings, problems)


def _entries(path: Path, kind: type[EntryT], problems: list[str], section: str = "") -> dict[str, EntryT]:
    content = _mapping(path, "", _yaml(path, problems), problems)
    if section and content:
        content = _mapping(path, section, content.get(section), problems)
    entries = {}
    for name, raw in content.items():
        entry = _typed(path, f"{section}.{name}" if section else name, raw, kind, problems)
        if entry is not None:
            entries[name] = entry
    return entries


def _typed(path: Path, where: str, raw: Any, kind: type[EntryT], problems: list[str]) -> EntryT | None:
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            key = ".".join(str(part) for part in (*filter(None, [where]), *detail["loc"])) or "(whole file)"
            message = detail["msg"].removeprefix("Value error, ")
            if detail["type"] == "extra_forbidden":
                message = (
                    f"unknown key; there are: {', '.join(kind.model_fields)}"
                    if len(detail["loc"]) == 1
                    else "unknown key"
                )
            shown = (
                ""
                if isinstance(detail["input"], dict | list) or detail["type"] == "missing"
                else f"{detail['input']!r}: "
            )
            problems.append(f"{path}: {key}: {shown}{message}")
        return None


def _mapping(path: Path, where: str, raw: Any, problems: list[str]) -> dict[str, Any]:
    if isinstance(raw, dict):
        return {str(key): value for key, value in raw.items()}
    if raw is not None or where:
        problems.append(f"{path}: {where or '(whole file)'}: {raw!r}: must be a mapping of names to entries")
    return {}


def _yaml(path: Path, problems: list[str]) -> Any:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)
    except FileNotFoundError:
        message = f"{path}: no such file; restore it from the repository"
    except OSError as error:
        message = f"{path}: cannot be read ({error.strerror})"
    except UnicodeDecodeError:
        message = f"{path}: not UTF-8 text"
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        message = f"{path}: line {line}: {error.problem or 'not valid YAML'}"
    except yaml.YAMLError as error:
        message = f"{path}: not valid YAML ({' '.join(str(error).split())})"
    if message not in problems:  # models.yaml and budgets.yaml are read once a section
        problems.append(message)
    return None


def _spelled(name: Any) -> str:
    return "/".join(name) if isinstance(name, tuple) else str(name)


class _StrictLoader(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):  # type: ignore[misc]
    """Safe YAML in which a key given twice is an error, not the last one winning."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.MarkedYAMLError(problem=f"{key!r} cannot be a key", problem_mark=key_node.start_mark)
            if key_node.tag != "tag:yaml.org,2002:merge" and key in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"{key!r} is given twice; keep one", problem_mark=key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)
