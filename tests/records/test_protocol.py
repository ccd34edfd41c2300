from __future__ import annotations

import re
from pathlib import Path

import pytest

from isoclock.errors import ArtifactError
from isoclock.records.protocol import VERSION, check_version, version_of

PROTOCOL = (Path(__file__).resolve().parents[2] / "PROTOCOL.md").read_text(encoding="utf-8")


def test_the_code_follows_the_version_of_the_document() -> None:
    assert PROTOCOL.splitlines()[0] == f"# The protocol, version {VERSION}"
    told = re.findall(r"^- \*\*Version (\d+)\*\*", PROTOCOL, re.MULTILINE)
    assert told == [str(version) for version in range(1, VERSION + 1)], "each version says what it changed"


def test_a_document_that_does_not_say_it_is_of_version_1() -> None:
    assert version_of({"protocol": "compute"}) == 1
    assert version_of({"protocol_version": 7}) == 7


@pytest.mark.parametrize("version", [VERSION - 1, VERSION + 1])
def test_a_document_of_another_version_is_refused_in_one_line(version: int) -> None:
    with pytest.raises(ArtifactError) as refused:
        check_version(Path("a/kd.json"), {"protocol_version": version}, "measure again")
    (line,) = refused.value.problems
    assert line.startswith(f"a/kd.json: made under version {version} of the protocol, and this is version {VERSION}; ")
    assert line.endswith(": measure again")
    check_version(Path("a/kd.json"), {"protocol_version": VERSION}, "measure again")
