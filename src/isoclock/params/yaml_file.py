"""Reading a YAML file of params/ into entries. Every mistake is one line with file, key and value.

The functions append mistakes to `problems`, so that all of them are reported together.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from isoclock.hints import choices, number_hint
from isoclock.params.yaml_loader import load_yaml, read_text
from isoclock.schema import NAME_RULE, is_name

EntryT = TypeVar("EntryT", bound=BaseModel)
_SHOWN = 200  # characters of a value in a message
_MISTAKES = 20  # reported for each entry


def read_entries(path: Path, kind: type[EntryT], problems: list[str], section: str = "") -> dict[str, EntryT]:
    """The valid entries of a file, or of one `section` of it, by name. Names that break the rule for names are mistakes."""
    content = as_mapping(path, "", read_yaml(path, problems), problems)
    if section and content:
        content = as_mapping(path, section, content.get(section), problems)
    entries = {}
    for name, raw in content.items():
        where = f"{section}.{name}" if section else name
        if not is_name(name):
            problems.append(f"{path}: {where}: {NAME_RULE}; rename it")
            continue
        entry = as_entry(path, where, raw, kind, problems)
        if entry is not None:
            entries[name] = entry
    return entries


def as_entry(path: Path, where: str, raw: Any, kind: type[EntryT], problems: list[str]) -> EntryT | None:
    """The entry at the key `where` of a file; None if it is not valid."""
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        details = error.errors(include_url=False)
        for detail in details[:_MISTAKES]:
            key = ".".join(str(part) for part in (*filter(None, [where]), *detail["loc"])) or "(whole file)"
            message = detail["msg"].removeprefix("Value error, ")
            if detail["type"] == "extra_forbidden":
                top = len(detail["loc"]) == 1
                message = f"unknown key; {choices(detail['loc'][0], kind.model_fields)}" if top else "unknown key"
            if detail["type"] in ("float_type", "int_type"):
                message += number_hint(detail["input"])
            whole = isinstance(detail["input"], dict | list) or detail["type"] == "missing"
            value = "" if whole else f"{shown(detail['input'])}: "
            problems.append(f"{path}: {key}: {value}{message}")
        if len(details) > _MISTAKES:
            problems.append(f"{path}: {where or '(whole file)'}: {len(details) - _MISTAKES} more mistakes")
        return None


def as_mapping(path: Path, where: str, raw: Any, problems: list[str]) -> dict[str, Any]:
    """A mapping at the key `where` of a file; empty if it is something else."""
    if isinstance(raw, dict):
        return {str(key): value for key, value in raw.items()}
    if raw is not None or where:
        problems.append(f"{path}: {where or '(whole file)'}: {shown(raw)}: must be a mapping of names to entries")
    return {}


def read_yaml(path: Path, problems: list[str]) -> Any:
    """The content of a file; None if it cannot be read."""
    try:
        return load_yaml(read_text(path))
    except FileNotFoundError:
        message = f"{path}: no such file; restore it from the repository"
    except OSError as error:
        message = f"{path}: cannot be read ({error.strerror})"
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        message = f"{path}: not UTF-8 text (line {line})"
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        message = f"{path}: {where}{error.problem or 'not valid YAML'}"
    except yaml.YAMLError as error:
        message = f"{path}: not valid YAML ({' '.join(str(error).split())})"
    if message not in problems:  # models.yaml and budgets.yaml are read once for each section
        problems.append(message)
    return None


def shown(value: Any) -> str:
    """A value as messages show it: on one line, and shortened."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
