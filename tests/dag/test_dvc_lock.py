"""`dvc.lock` is read with the limits of params/, and one of another form is one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from isoclock.dag.dvc_lock import compare_with_dvc_lock
from isoclock.errors import ArtifactError

GOOD = """\
schema: '2.0'
stages:
  report:
    cmd: isoclock report
    outs:
    - path: results/report/demo.json
      hash: md5
      md5: d41d8cd98f00b204e9800998ecf8427e
      size: 0
    - path: elsewhere
      md5: '00000000000000000000000000000000'
"""


def test_files_are_compared_with_their_digests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = Path("results/report/demo.json")
    file.parent.mkdir(parents=True)
    file.touch()
    Path("dvc.lock").write_text(GOOD)
    monkeypatch.setattr("isoclock.dag.dvc_lock._dvc_cache", Path)  # asks DVC, which takes a second; not used for files
    problems: list[str] = []
    assert compare_with_dvc_lock(Path("dvc.lock"), Path("results"), problems) == {file}
    assert problems == []
    file.write_text("other")
    compare_with_dvc_lock(Path("dvc.lock"), Path("results"), problems)
    assert "not the file that dvc.lock lists" in problems[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stages: [", "line 2: did not find"),
        ("stages: !!python/object:os.system {}", "tags are not supported"),
        ("a: &a [1]\nb: &b [*a, *a, *a]\nc: " + "[" * 100, "nested"),
        ("- a", "not a lock file of DVC"),
        ("stages: [a]", "not a lock file of DVC"),
        ("stages: {a: {outs: [{path: 3, md5: x}]}}", "not a lock file of DVC"),
        ("stages: {a: {outs: [{path: x}]}}", "not a lock file of DVC"),
    ],
)
def test_a_damaged_lock_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    lock = tmp_path / "dvc.lock"
    lock.write_text(text)
    with pytest.raises(ArtifactError, match=words) as caught:
        compare_with_dvc_lock(lock, Path("results"), [])
    assert len(caught.value.problems) == 1
