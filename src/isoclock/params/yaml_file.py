"""Reading a YAML file of params/ into entries. Every mistake is one line with file, key and value.

The functions append mistakes to `problems`, so that all of them are reported together.
"""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

EntryT = TypeVar("EntryT", bound=BaseModel)


def read_entries(path: Path, kind: type[EntryT], problems: list[str], section: str = "") -> dict[str, EntryT]:
    """The valid entries of a file, or of one `section` of it, by name."""
    content = as_mapping(path, "", read_yaml(path, problems), problems)
    if section and content:
        content = as_mapping(path, section, content.get(section), problems)
    entries = {}
    for name, raw in content.items():
        entry = as_entry(path, f"{section}.{name}" if section else name, raw, kind, problems)
        if entry is not None:
            entries[name] = entry
    return entries


def as_entry(path: Path, where: str, raw: Any, kind: type[EntryT], problems: list[str]) -> EntryT | None:
    """The entry at the key `where` of a file; None if it is not valid."""
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            key = ".".join(str(part) for part in (*filter(None, [where]), *detail["loc"])) or "(whole file)"
            message = detail["msg"].removeprefix("Value error, ")
            if detail["type"] == "extra_forbidden":
                top = len(detail["loc"]) == 1
                message = f"unknown key; choose from {', '.join(kind.model_fields)}" if top else "unknown key"
            shown = (
                ""
                if isinstance(detail["input"], dict | list) or detail["type"] == "missing"
                else f"{detail['input']!r}: "
            )
            problems.append(f"{path}: {key}: {shown}{message}")
        return None


def as_mapping(path: Path, where: str, raw: Any, problems: list[str]) -> dict[str, Any]:
    """A mapping at the key `where` of a file; empty if it is something else."""
    if isinstance(raw, dict):
        return {str(key): value for key, value in raw.items()}
    if raw is not None or where:
        problems.append(f"{path}: {where or '(whole file)'}: {raw!r}: must be a mapping of names to entries")
    return {}


def read_yaml(path: Path, problems: list[str]) -> Any:
    """The content of a file; None if it cannot be read."""
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
    if message not in problems:  # models.yaml and budgets.yaml are read once for each section
        problems.append(message)
    return None


class _StrictLoader(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):  # type: ignore[misc]
    """Safe YAML in which a duplicate key is an error."""

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
