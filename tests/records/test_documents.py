"""Every damage to a document is one line with path and key, and never a traceback."""

from __future__ import annotations

import copy
import json
import random
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import documents
from isoclock.errors import ArtifactError
from isoclock.records.document import MAX_PROBLEMS_SHOWN, Document, Part, build, plain, read, schema_of, write
from isoclock.records.index import Samples
from mutations import MUTATIONS, has, mutated
from no_files import NO_FILES, put

DOCUMENTS: dict[str, Document] = {
    "profile": documents.profile(pretrain={"iterations": 3, "ratio": 0.5, "low": 0.4, "high": 0.6}, loader_share=0.5),
    "accepted": documents.accepted_budget(),
    "plan": documents.plan(),
    "student run": documents.student_run(),
    "student record": documents.student_record(segments=[documents.segment(0.5), documents.segment(0.4)]),
    "teacher run": documents.teacher_run(),
    "teacher record": documents.teacher_record(),
    "scores": documents.scores(),
    "index": documents.index(),
}
WRONG: tuple[Any, ...] = ("6", "x", True, -5, -0.5, 1e9, 99, [], {}, [[]], {"x": 1})
FREE = re.compile(r"params\..*\.|scoring\.")  # values of any kind, or with tests of their own
# Keys that a document may lack: names that are values (classes, packages), and what older or other documents do not have.
OPTIONAL = re.compile(
    r"(plan\.)?protocol_version$|params\.(.*\.|model|student|teacher|method)|environment\.|metrics\.|per_class_iou\.|scoring\."
    r"|storage\.quality|splits\.(train$|val$|.*files\.labels$)"
)
Key = tuple[str | int, ...]


def keys(value: Any, at: Key = ()) -> Iterator[Key]:
    """Every key of a document, nested ones too, and the first of each list."""
    inside = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, inner in inside:
        yield (*at, key)
        yield from keys(inner, (*at, key))


def dotted(key: Key) -> str:
    return ".".join(map(str, key))


def holder(content: Any, key: Key) -> Any:
    for part in key[:-1]:
        content = content[part]
    return content


def problem_of(path: Path, name: str) -> str | None:
    """The line for a damaged document, or None if it is accepted. Fails for any other error."""
    try:
        read(path, type(DOCUMENTS[name]), "verb")
    except ArtifactError as error:
        (line,) = error.problems
        assert "\n" not in line
        assert line.startswith(f"{path}: ")
        assert line.endswith("; remove it and run `isoclock verb` again")
        return line
    return None


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_is_read_as_it_was_written_and_has_equal_bytes(tmp_path: Path, name: str) -> None:
    path, document = tmp_path / "a.json", DOCUMENTS[name]
    write(path, document)
    found = read(path, type(document), "verb")
    assert found == document
    write(tmp_path / "b.json", found)
    assert path.read_bytes() == (tmp_path / "b.json").read_bytes()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_key_that_is_missing_is_named(tmp_path: Path, name: str) -> None:
    path, right = tmp_path / "document.json", plain(DOCUMENTS[name])
    for key in keys(right):
        content = copy.deepcopy(right)
        del holder(content, key)[key[-1]]
        path.write_text(json.dumps(content))
        line = problem_of(path, name)
        if isinstance(key[-1], int):  # a rule about the length of a list, if there is one
            assert line is None or dotted(key[:-1]) in line or dotted(key[:-1]) == "classes", key
        elif not OPTIONAL.match(dotted(key)):
            assert line is not None, key
            assert f"{dotted(key)}: missing" in line


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_wrong_value_is_named(tmp_path: Path, name: str) -> None:
    """Some of WRONG are right for a key (99 is a number); where one is refused, the line has the key."""
    path, right = tmp_path / "document.json", plain(DOCUMENTS[name])
    for key in keys(right):
        refused = 0
        for value in WRONG:
            content = copy.deepcopy(right)
            holder(content, key)[key[-1]] = value
            path.write_text(json.dumps(content))
            if (line := problem_of(path, name)) is not None:
                refused += 1
                assert dotted(key) in line or (key[0] == "scoring" and str(key[-1]) in line), value
        if not FREE.match(dotted(key)):
            assert refused >= len(WRONG) - 4, key


@pytest.mark.parametrize("name", DOCUMENTS)
def test_another_schema_is_reported_alone(tmp_path: Path, name: str) -> None:
    path = tmp_path / "document.json"
    path.write_text(json.dumps({**plain(DOCUMENTS[name]), "schema": 99, "unknown": 1}))
    line = problem_of(path, name)
    assert line is not None
    assert f"schema: 99, but this version of isoclock reads schema {schema_of(type(DOCUMENTS[name]))};" in line
    assert "unknown" not in line


@pytest.mark.parametrize("name", DOCUMENTS)
def test_an_unknown_key_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / "document.json"
    path.write_text(json.dumps({**plain(DOCUMENTS[name]), "speed": 1}))
    line = problem_of(path, name)
    assert line is not None
    assert "speed: unknown key" in line


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"schema": NaN}', b"[" * 100_000]
)
@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_file_that_is_no_document_is_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / "document.json"
    path.write_bytes(content)
    assert problem_of(path, name) is not None


def test_a_file_that_is_missing_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"plan\.json: not there; `isoclock plan a b c` makes it"):
        read(tmp_path / "plan.json", type(DOCUMENTS["plan"]), "plan a b c")


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file_is_one_line(tmp_path: Path, kind: str) -> None:
    with pytest.raises(
        ArtifactError, match=rf"plan\.json: cannot be read \(it is {kind}, not a file\); check the file"
    ):
        read(put(tmp_path / "plan.json", kind), type(DOCUMENTS["plan"]), "plan a b c")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_two_damages_are_one_line(tmp_path: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(DOCUMENTS)))
    content = plain(DOCUMENTS[name])
    for key in data.draw(st.lists(st.sampled_from(list(keys(content))), min_size=1, max_size=2)):
        try:
            inside = holder(content, key)
            inside[key[-1]] = data.draw(
                st.none()
                | st.booleans()
                | st.integers()
                | st.floats()
                | st.text()
                | st.lists(st.integers(), max_size=2)
            )
        except (KeyError, TypeError, IndexError):  # the first damage removed where the second would be
            continue
    path = tmp_path / "document.json"
    path.write_text(json.dumps(content))
    problem_of(path, name)


@pytest.mark.target("1,000 mutated documents: no traceback, no hang, no other value accepted")
def test_random_mistakes_in_the_text(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    draw, refused = random.Random(0), 0
    path = tmp_path / "document.json"
    for number in range(MUTATIONS):
        name = list(DOCUMENTS)[number % len(DOCUMENTS)]
        write(path, DOCUMENTS[name])
        path.write_text(changed := mutated(path.read_text(encoding="utf-8"), draw), encoding="utf-8")
        began = time.process_time()
        if problem_of(path, name) is not None:
            refused += 1
        else:
            assert has(plain(read(path, type(DOCUMENTS[name]), "verb")), json.loads(changed)), changed
        assert time.process_time() - began < 2
    assert MUTATIONS // 2 < refused < MUTATIONS
    record_property("cases", MUTATIONS)
    record_property("found", f"{refused} refused")


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    for value in ("NaN", "Infinity", "1e999"):
        path.write_text(json.dumps(plain(documents.plan())).replace('"planned_s": 0.9', f'"planned_s": {value}', 1))
        assert value in path.read_text()
        line = problem_of(path, "plan")
        assert line is not None
        assert "planned_s: must be" in line


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("student run", {"started_unix": 1e308}),
        ("student record", {"ended_unix": 1e12}),
        ("profile", {"measured_unix": 1e300}),
        ("plan", {"iterations": 10**30}),
        ("scores", {"iterations": 2**63}),
    ],
)
def test_numbers_that_no_database_holds_are_refused(tmp_path: Path, name: str, changes: dict[str, Any]) -> None:
    path = tmp_path / "document.json"
    path.write_text(json.dumps(plain(DOCUMENTS[name]) | changes))
    line = problem_of(path, name)
    assert line is not None
    assert f"{path}: {next(iter(changes))}: must be less than" in line


def test_many_problems_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(dict.fromkeys(plain(documents.plan()), None) | {"schema": 2}))
    line = problem_of(path, "plan")
    assert line is not None
    assert line.count("not None") == MAX_PROBLEMS_SHOWN
    assert "more problems" in line


def test_a_budget_says_how_much_it_is(tmp_path: Path) -> None:
    path = tmp_path / "accepted.json"
    for protocol, key in (("compute", "anchor_steps"), ("iteration", "iterations")):
        path.write_text(json.dumps({**plain(documents.accepted_budget()), "protocol": protocol, key: None}))
        line = problem_of(path, "accepted")
        assert line is not None
        assert f"{key}: missing, although protocol is {protocol}" in line


def test_samples_are_equally_long(tmp_path: Path) -> None:
    path = tmp_path / "val.samples.json"
    right = {"names": ["a"], "sizes": [[2, 3]], "labelled": [True], "image_bytes": [18]}
    path.write_text(json.dumps(right))
    assert read(path, Samples, "prepare").sizes == [(2, 3)]
    path.write_text(json.dumps(right | {"names": []}))
    with pytest.raises(ArtifactError, match="must be equally long"):
        read(path, Samples, "prepare")


def test_a_document_without_a_version_is_of_version_1() -> None:
    content = plain(documents.plan())
    del content["protocol_version"]
    assert type(documents.plan()).model_validate_json(json.dumps(content)).protocol_version == 1


def test_what_a_verb_writes_is_checked_too() -> None:
    content: dict[str, Any] = plain(documents.plan()) | {"iterations": -5}
    with pytest.raises(ValueError, match="iterations"):
        build(type(documents.plan()), content)


def test_parts_cannot_be_assigned_to() -> None:
    document: Part = documents.plan()
    with pytest.raises(ValueError, match="frozen"):
        document.iterations = 7  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "own", "other"),
    [
        ("profile", "profile streets tiny kd", "profile streets tiny mgd"),
        ("accepted", "plan streets tiny compute-6", "plan avenues tiny compute-6"),
        ("plan", "plan streets tiny compute-6 kd", "plan streets tiny compute-6 mgd"),
        ("student record", "student streets/tiny/kd/compute-6/0", "student streets/tiny/kd/compute-6/1"),
        ("teacher record", "teacher streets small", "teacher avenues small"),
    ],
)
def test_a_document_that_was_copied_from_another_place_is_refused(
    tmp_path: Path, name: str, own: str, other: str
) -> None:
    path = tmp_path / "a.json"
    write(path, DOCUMENTS[name])
    assert read(path, type(DOCUMENTS[name]), own) == DOCUMENTS[name]
    with pytest.raises(ArtifactError) as caught:
        read(path, type(DOCUMENTS[name]), other)
    (line,) = caught.value.problems
    assert line == f"{path}: made by `isoclock {own}`, so it was copied here; remove it and run `isoclock {other}`"
