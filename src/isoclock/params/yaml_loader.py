"""A YAML loader with limits, for files of params/: plain values only, and every mistake has its line.

Values are built from the parser's events without recursion, so that neither the size nor the nesting of a file can exhaust
memory or the interpreter's stack. Values that YAML 1.1 reads in a way that few people expect are refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from math import isinf
from pathlib import Path
from typing import Any, NoReturn

import yaml

from isoclock.files import regular

MAX_BYTES = 2 << 20
MAX_NODES = 200_000  # keys and values, with aliases expanded
MAX_DEPTH = 50
MAX_SCALAR = 20_000  # characters
MAX_KEY = 200  # characters
MAX_INT = 2**63 - 1
_INT = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
# All but tab, line feed, carriage return: what could forge or hide text in a message or on a terminal.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_Loader: Any = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


def read_text(path: Path) -> str:
    """The text of a file. Raises UnicodeDecodeError, and OSError also where it is too large or no file."""
    with regular(path).open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise OSError(None, f"it is larger than {MAX_BYTES >> 20} MiB")
    return content.decode("utf-8")


_RESOLVERS = _Loader.yaml_implicit_resolvers  # by first character: (tag, pattern) of the plain values that are no text
_BOOLEANS = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
_TAG = "tag:yaml.org,2002:"


def load_yaml(text: str) -> Any:
    """The content of a text; None if it is empty. Raises yaml.MarkedYAMLError at the first mistake, with its line."""
    if found := _UNPRINTABLE.search(text):
        mark = yaml.Mark("", found.start(), text.count("\n", 0, found.start()), 0, None, 0)
        _refuse(f"not valid YAML: control character U+{ord(found[0]):04X}; remove it", mark)
    builder, documents = _Builder(), 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.NodeEvent | yaml.CollectionEndEvent):
            builder.add(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                _refuse("a second document starts here; keep one", event.start_mark)
    return builder.document.value[0] if builder.document.value else None


@dataclass
class _Open:
    """A collection whose end has not been read. `nodes` and `depth` count aliases with their content."""

    anchor: str | None
    value: Any  # a list, or a dict
    nodes: int = 1
    depth: int = 0
    key: str | None = None  # of a dict: the key whose value comes next


@dataclass
class _Builder:
    """Builds values from the events of a parser."""

    document: _Open = field(default_factory=lambda: _Open(None, [], 0))
    stack: list[_Open] = field(default_factory=list)
    anchors: dict[str, tuple[Any, int, int] | None] = field(
        default_factory=dict
    )  # value, nodes, depth; None while open

    def add(self, event: Any) -> None:
        """Take the next event. Raises yaml.MarkedYAMLError."""
        mark, anchor = event.start_mark, getattr(event, "anchor", None)
        if isinstance(event, yaml.ScalarEvent):
            if anchor is not None:
                self._check_anchor(event)
            done = _scalar(event), 1, 0
        elif isinstance(event, yaml.CollectionEndEvent):
            closed = self.stack.pop()
            anchor, done = closed.anchor, (closed.value, closed.nodes, closed.depth)
        elif isinstance(event, yaml.AliasEvent):
            anchor, done = None, self._of_alias(event)
        else:
            self._check_start(event)
            self.stack.append(_Open(event.anchor, {} if isinstance(event, yaml.MappingStartEvent) else []))
            return
        value, nodes, depth = done
        if anchor is not None:
            self.anchors[anchor] = done
        top = self.stack[-1] if self.stack else self.document
        top.nodes += nodes
        if depth >= top.depth:
            top.depth = depth + 1
        if top.nodes > MAX_NODES:
            _refuse(f"more than {MAX_NODES} keys and values, with aliases expanded; shorten the file", mark)
        if len(self.stack) + depth > MAX_DEPTH:
            _refuse(f"nested more than {MAX_DEPTH} levels deep, with aliases expanded", mark)
        if isinstance(top.value, list):
            top.value.append(value)
        elif top.key is None:
            top.key = _key(value, top.value, mark)
        else:
            top.value[top.key], top.key = value, None

    def _check_start(self, event: Any) -> None:
        _check_tag(event)
        if len(self.stack) >= MAX_DEPTH:
            _refuse(f"nested more than {MAX_DEPTH} levels deep; a bracket may be missing", event.start_mark)
        if event.anchor is not None:
            self._check_anchor(event)
            self.anchors[event.anchor] = None

    def _check_anchor(self, event: Any) -> None:
        if event.anchor in self.anchors:
            _refuse(f"anchor &{_shortened(event.anchor)} is given twice; rename one", event.start_mark)

    def _of_alias(self, event: Any) -> tuple[Any, int, int]:
        name = f"*{_shortened(event.anchor)}"
        if event.anchor not in self.anchors:
            _refuse(f"{name}: there is no anchor of this name before it", event.start_mark)
        if (found := self.anchors[event.anchor]) is None:
            _refuse(f"{name} contains itself; write the value out", event.start_mark)
        return found


def _key(key: Any, before: dict[str, Any], mark: Any) -> str:
    """A key of a mapping that has the keys `before`."""
    shown = _shortened(repr(key))
    if not isinstance(key, str):
        _refuse(f"{shown} cannot be a key{'' if isinstance(key, list | dict) else '; put it in quotes'}", mark)
    if len(key) > MAX_KEY:
        _refuse(f"a key of {len(key)} characters; at most {MAX_KEY}", mark)
    if key in before:
        _refuse(f"{shown} is given twice; keep one", mark)
    return key


def _scalar(event: Any) -> Any:
    """The value of a scalar: text, or what the plain text stands for in YAML 1.1."""
    text: str = event.value
    if event.tag is not None:
        _check_tag(event)
    if len(text) > MAX_SCALAR:
        _refuse(f"a value of {len(text)} characters; at most {MAX_SCALAR}", event.start_mark)
    if event.style == '"' and (found := _UNPRINTABLE.search(text)):  # the text of the file has been checked
        _refuse(f"control character U+{ord(found[0]):04X} in text; remove it", event.start_mark)
    if not event.implicit[0]:
        return text
    if _INT.fullmatch(text):  # before the patterns below, which take most of the time
        return _integer(text, event.start_mark)
    for tag, pattern in _RESOLVERS.get(text[:1], ()):
        if pattern.match(text):
            return _plain(tag.removeprefix(_TAG), text, event.start_mark)
    return text


def _plain(kind: str, text: str, mark: Any) -> Any:
    if kind == "int":
        return _integer(text, mark)
    if kind == "float":
        return _number(text, mark)
    if kind == "bool":
        return _BOOLEANS[text.lower()]
    if kind == "null":
        return None
    if kind == "timestamp":
        _refuse(f"{_shortened(text)}: read as a date; put it in quotes", mark)
    if kind == "merge":
        _refuse("merge keys (<<) are not supported; repeat the keys", mark)
    return text


def _integer(text: str, mark: Any) -> int:
    """A decimal integer of 64 bits. YAML 1.1 reads 010 as 8 and 1:30 as 90."""
    if not _INT.fullmatch(text):  # octal, hexadecimal, binary, sexagesimal
        _refuse(f"{_shortened(text)}: not a decimal integer; put text in quotes", mark)
    if len(digits := text.replace("_", "")) > 20 or abs(value := int(digits)) > MAX_INT:
        _refuse(f"{_shortened(text)}: out of range; at most {MAX_INT}", mark)
    return value


def _number(text: str, mark: Any) -> float:
    """A decimal number that neither overflows to infinity nor underflows to zero."""
    if ":" in text:
        _refuse(f"{_shortened(text)}: not a decimal number; put text in quotes", mark)
    lower = text.lower().replace("_", "")
    named = lower.lstrip("+-") in (".inf", ".nan")
    value = float(lower.replace(".", "") if named else lower)
    if not named and (isinf(value) or (value == 0 and re.search("[1-9]", lower.partition("e")[0]))):
        _refuse(f"{_shortened(text)}: out of range", mark)
    return value


def _check_tag(event: Any) -> None:
    if event.tag is not None:
        tag = _shortened(event.tag.replace(_TAG, "!!"))
        _refuse(f"tag {tag}: tags are not supported; write the plain value", event.start_mark)


def _refuse(problem: str, mark: Any) -> NoReturn:
    raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
