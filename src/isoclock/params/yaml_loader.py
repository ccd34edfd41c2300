"""A YAML loader with limits, for files of params/: plain values only, and every mistake has its line.

The events of a file are checked before anything is built from them, so that neither its size nor its nesting can exhaust
memory or the interpreter's stack. Values that YAML 1.1 reads in a way that few people expect are refused.
"""

from __future__ import annotations

import re
import stat
from math import isinf
from pathlib import Path
from typing import Any, NoReturn

import yaml

MAX_BYTES = 4 << 20
MAX_NODES = 300_000  # keys and values, with aliases expanded
MAX_DEPTH = 50
MAX_SCALAR = 20_000  # characters
MAX_KEY = 200  # characters
MAX_INT = 2**63 - 1
_INT = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
# All but tab, line feed, carriage return: what could forge or hide text in a message or on a terminal.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u202a-\u202e\u2066-\u2069\ufffe\uffff]")
_Loader: Any = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


def read_text(path: Path) -> str:
    """The text of a file. Raises OSError, UnicodeDecodeError, or MarkedYAMLError where it is too large or no plain file."""
    if not stat.S_ISREG(path.stat().st_mode):  # opening a FIFO would wait for a writer
        kind = "a folder" if path.is_dir() else "not a plain file"
        raise OSError(None, f"it is {kind}")
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise OSError(None, f"it is larger than {MAX_BYTES >> 20} MiB")
    return content.decode("utf-8")


def load_yaml(text: str) -> Any:
    """The content of a text. Raises yaml.MarkedYAMLError at the first mistake, with its line."""
    if found := _UNPRINTABLE.search(text):
        _refuse(f"not valid YAML: control character U+{ord(found[0]):04X}; remove it", _mark(text, found.start()))
    try:
        _check_events(text)
        return yaml.load(text, Loader=_StrictLoader)
    except yaml.reader.ReaderError as error:
        at = error.position if isinstance(error.position, int) else 0
        _refuse(f"not valid YAML: {error.reason}", _mark(text, at))


def _check_events(text: str) -> None:
    """Refuse tags, and what is too large or too deep with aliases expanded. The parser does not recurse."""
    known: dict[str, tuple[int, int] | None] = {}  # nodes and depth of an anchor's value; None while it is open
    stack: list[list[Any]] = [[None, 0, 0]]  # anchor, nodes, depth of each open collection
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.ScalarEvent):
            if len(event.value) > MAX_SCALAR:
                _refuse(f"a value of {len(event.value)} characters; at most {MAX_SCALAR}", event.start_mark)
            nodes, depth = 1, 0
        elif isinstance(event, yaml.CollectionStartEvent):
            if len(stack) > MAX_DEPTH:
                _refuse(f"nested more than {MAX_DEPTH} levels deep; a bracket may be missing", event.start_mark)
            stack.append([event.anchor, 1, 0])
            known |= {event.anchor: None} if event.anchor else {}
            _check_tag(event)
            continue
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, nodes, depth = stack.pop()
            if anchor:
                known[anchor] = nodes, depth
        elif isinstance(event, yaml.AliasEvent):
            found = known.get(event.anchor, (0, 0))  # one that does not exist is found when the file is loaded
            if found is None:
                _refuse(f"*{event.anchor} contains itself; write the value out", event.start_mark)
            nodes, depth = found
        else:
            continue
        if isinstance(event, yaml.ScalarEvent):
            _check_tag(event)
            known |= {event.anchor: (1, 0)} if event.anchor else {}
        top = stack[-1]
        top[1], top[2] = top[1] + nodes, max(top[2], depth + 1)
        if top[1] > MAX_NODES:
            _refuse(f"more than {MAX_NODES} keys and values, with aliases expanded; shorten the file", event.start_mark)
        if len(stack) - 1 + depth > MAX_DEPTH:
            _refuse(f"nested more than {MAX_DEPTH} levels deep, with aliases expanded", event.start_mark)


def _check_tag(event: Any) -> None:
    if event.tag is not None:
        tag = event.tag.replace("tag:yaml.org,2002:", "!!")
        _refuse(f"tag {_shortened(tag)}: tags are not supported; write the plain value", event.start_mark)


class _StrictLoader(_Loader):  # type: ignore[misc]
    """Safe YAML in which keys are text and given once, and numbers are decimal."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                _refuse("merge keys (<<) are not supported; repeat the keys", key_node.start_mark)
            key = self.construct_object(key_node, deep=True)
            shown = _shortened(repr(key))
            if not isinstance(key, str):
                plain = isinstance(key_node, yaml.ScalarNode)
                _refuse(f"{shown} cannot be a key{'; put it in quotes' if plain else ''}", key_node.start_mark)
            if len(key) > MAX_KEY:
                _refuse(f"a key of {len(key)} characters; at most {MAX_KEY}", key_node.start_mark)
            if key in seen:
                _refuse(f"{shown} is given twice; keep one", key_node.start_mark)
            seen.add(key)
        found: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return found

    def construct_int(self, node: Any) -> int:
        """A decimal integer of 64 bits. YAML 1.1 reads 010 as 8 and 1:30 as 90."""
        text = node.value
        if not _INT.fullmatch(text):
            _refuse(f"{_shortened(text)}: not a decimal integer; put text in quotes", node.start_mark)
        if len(digits := text.replace("_", "")) > 20 or abs(value := int(digits)) > MAX_INT:
            _refuse(f"{_shortened(text)}: out of range; at most {MAX_INT}", node.start_mark)
        return value

    def construct_float(self, node: Any) -> float:
        """A decimal number that neither overflows to infinity nor underflows to zero."""
        text = node.value
        if ":" in text:
            _refuse(f"{_shortened(text)}: not a decimal number; put text in quotes", node.start_mark)
        value: float = super().construct_yaml_float(node)
        mantissa = text.lower().partition("e")[0]
        if (isinf(value) and "inf" not in text.lower()) or (value == 0 and re.search("[1-9]", mantissa)):
            _refuse(f"{_shortened(text)}: out of range", node.start_mark)
        return value

    def refuse_date(self, node: Any) -> NoReturn:
        """No value in params/ is a date."""
        _refuse(f"{_shortened(node.value)}: read as a date; put it in quotes", node.start_mark)


_StrictLoader.add_constructor("tag:yaml.org,2002:int", _StrictLoader.construct_int)
_StrictLoader.add_constructor("tag:yaml.org,2002:float", _StrictLoader.construct_float)
_StrictLoader.add_constructor("tag:yaml.org,2002:timestamp", _StrictLoader.refuse_date)


def _refuse(problem: str, mark: Any) -> NoReturn:
    raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def _mark(text: str, at: int) -> yaml.Mark:
    return yaml.Mark("", at, text.count("\n", 0, at), 0, None, 0)


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
