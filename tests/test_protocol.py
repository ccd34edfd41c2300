from __future__ import annotations

import re
from pathlib import Path

import pytest

import documents
from isoclock.errors import ArtifactError
from isoclock.protocol import VERSION, check_version

PROTOCOL = (Path(__file__).resolve().parents[1] / "PROTOCOL.md").read_text(encoding="utf-8")


def test_the_code_follows_the_version_of_the_document() -> None:
    assert PROTOCOL.splitlines()[0] == f"# The protocol, version {VERSION}"
    listed = re.findall(r"^- \*\*Version (\d+)\*\*", PROTOCOL, re.MULTILINE)
    assert listed == [str(version) for version in range(1, VERSION + 1)], "each version says what it changed"


@pytest.mark.parametrize("version", [VERSION - 1, VERSION + 1])
def test_a_document_of_another_version_is_refused_in_one_line(version: int) -> None:
    with pytest.raises(ArtifactError) as refused:
        check_version(Path("a/kd.json"), documents.plan(protocol_version=version), "measure again")
    (line,) = refused.value.problems
    assert line.startswith(f"a/kd.json: made under version {version} of the protocol, and this is version {VERSION}; ")
    assert line.endswith(": measure again")
    check_version(Path("a/kd.json"), documents.plan(), "measure again")
