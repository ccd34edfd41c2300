"""Documents as JSON files: checked against their model whenever one is read or written.

A document that is missing, damaged, of another schema or with a wrong value is an ArtifactError of one line, which names the
path, the key and what to do. Imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from isoclock import protocol
from isoclock.errors import ArtifactError
from isoclock.files import regular, to_json, write_json
from isoclock.schema import Count

MAX_PROBLEMS_SHOWN = 4  # of one document, in its line
_SHOWN_CHARACTERS = 40  # of a wrong value
_KEY_FIRST = re.compile(r"[\w.]+: ")


class Part(BaseModel):
    """A part of a document. Nothing is coerced ("6" is not 6), unknown keys are errors, and values cannot be assigned to."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    MADE_BY: ClassVar[str] = ""
    """The command that writes this document, without `isoclock`, as a format string; empty if its content does not say."""


class Document(Part):
    """A JSON file that one verb writes and others read. A subclass narrows `schema_` to the one number that it reads."""

    schema_: int = Field(alias="schema")


class Measured(Document):
    """A document that depends on the version of the protocol. Documents of version 1 do not contain the key."""

    protocol_version: Count = protocol.FIRST


AnyPart = TypeVar("AnyPart", bound=Part)
AnyDocument = TypeVar("AnyDocument", bound=Document)


def read(path: Path, model: type[AnyPart], made_by: str) -> AnyPart:
    """Read and check a document that `isoclock <made_by>` writes. Raises ArtifactError, of one line, where that fails.

    With the arguments of the verb in `made_by`, a document of another cell, which was copied here, is an error too.
    """
    try:
        content = regular(path).read_bytes()
    except FileNotFoundError:
        raise ArtifactError(f"{path}: not there; `isoclock {made_by}` makes it") from None
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror}); check the file and its permissions") from None
    try:
        found = model.model_validate_json(content, strict=True)
    except ValidationError as error:
        problems = _problems(error.errors(include_url=False), model)
        raise ArtifactError(f"{path}: {problems}; remove it and run `isoclock {made_by}` again") from None
    by = found.MADE_BY.format(found)
    if by and " " in made_by and by != made_by:
        raise ArtifactError(
            f"{path}: made by `isoclock {by}`, so it was copied here; remove it and run `isoclock {made_by}`"
        )
    return found


def read_if_there(path: Path, model: type[AnyPart], made_by: str) -> AnyPart | None:
    """The document, or None if there is no such file. Raises ArtifactError if the file is damaged."""
    return read(path, model, made_by) if path.is_file() else None


def build(model: type[AnyDocument], content: Mapping[str, Any]) -> AnyDocument:
    """A document of plain values, checked like a file. Schema and protocol version are added where `content` has none.

    Raises pydantic.ValidationError, since a wrong value here is a bug and not a damaged file.
    """
    common: dict[str, Any] = {"schema": schema_of(model)}
    if issubclass(model, Measured):
        common[protocol.KEY] = protocol.VERSION
    return model.model_validate_json(to_json(common | dict(content)), strict=True)


def plain(document: Part) -> dict[str, Any]:
    """The document as JSON values, with the keys that the file has."""
    return document.model_dump(mode="json", by_alias=True)


def write(path: Path, document: Document) -> None:
    """Write a document atomically. Equal documents are equal bytes."""
    write_json(path, plain(document))


def schema_of(model: type[Document]) -> int:
    """The schema number that a model reads and writes."""
    (number,) = get_args(model.model_fields["schema_"].annotation)
    return int(number)


def _problems(errors: Sequence[ErrorDetails], model: type[Part]) -> str:
    """What is wrong, as `key: what` for each key. Another schema explains all other problems, so it is reported alone."""
    if errors[0]["type"] == "json_invalid":
        return f"not valid JSON ({errors[0]['msg'].removeprefix('Invalid JSON: ')})"
    for error in errors:
        if error["loc"] == ("schema",) and error["type"] != "missing" and issubclass(model, Document):
            return f"schema: {_shown(error['input'])}, but this version of isoclock reads schema {schema_of(model)}"
    found = [_problem(error) for error in errors[:MAX_PROBLEMS_SHOWN]]
    more = len(errors) - len(found)
    return "; ".join(found) + (f"; and {more} more problems" if more > 0 else "")


def _problem(error: ErrorDetails) -> str:
    key = ".".join(map(str, error["loc"]))
    if error["type"] in ("missing", "missing_argument"):
        return f"{key}: missing"
    if error["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{key}: unknown key"
    what = error["msg"].replace("Input should", "must")
    if error["type"] != "value_error":
        return f"{key}: {what}, not {_shown(error['input'])}"
    # A rule about several keys: its message starts with the one that is wrong, seen from the part that has the rule.
    what = what.removeprefix("Value error, ")
    return f"{key}{'.' if _KEY_FIRST.match(what) else ': '}{what}" if key else what


def _shown(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
