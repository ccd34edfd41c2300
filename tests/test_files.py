from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from isoclock.errors import ArtifactError
from isoclock.files import (
    NotAFile,
    read_arrays,
    read_json,
    regular,
    sha256_file,
    sha256_json,
    sha256_path,
    to_json,
    write_bytes,
    write_if_changed,
    write_json,
    write_text,
    written_atomically,
)
from no_files import NO_FILES, put


def test_the_digest_of_a_folder_is_that_of_the_lines_that_sha256sum_prints(tmp_path: Path) -> None:
    folder = tmp_path / "network"
    (folder / "parts").mkdir(parents=True)
    (folder / ".cache").mkdir()
    for name in ("model.safetensors", "config.json", "parts/0", "é", ".gitattributes", ".cache/when"):
        (folder / name).write_text(name)
    command = "find . -type f ! -path '*/.*' -printf '%P\\n' | LC_ALL=C sort | xargs -d '\\n' sha256sum | sha256sum | cut -c -64"
    printed = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True, check=True).stdout
    assert sha256_path(folder) == printed.strip()
    assert sha256_path(folder / "é") == sha256_file(folder / "é")
    (folder / ".cache" / "when").write_text("another time")
    assert sha256_path(folder) == printed.strip()
    (folder / "config.json").rename(folder / "other.json")
    assert sha256_path(folder) != printed.strip()


def test_nothing_half_written_when_the_body_raises(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    write_bytes(path, b"old")

    def fail() -> None:
        with written_atomically(path) as temporary:
            temporary.write_bytes(b"ne")
            raise RuntimeError("disk is full")

    with pytest.raises(RuntimeError, match="disk"):
        fail()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_at_all_when_the_first_write_raises(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), written_atomically(tmp_path / "deep" / "new.json"):
        raise RuntimeError
    assert list((tmp_path / "deep").iterdir()) == []


def test_a_kill_in_the_middle_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_text(path, "old")
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from isoclock.files import written_atomically\n"
        "with written_atomically(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half of the ne')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert path.read_text() == "old"


def test_the_temporary_name_keeps_the_suffix_and_lies_beside(tmp_path: Path) -> None:
    with written_atomically(tmp_path / "confusion.npz") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".npz"
        temporary.write_bytes(b"x")


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a.txt", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640


def test_a_hard_linked_file_is_replaced_not_written_through(tmp_path: Path) -> None:
    # DVC's cache is linked into the work tree: writing through the link would change the cache.
    write_text(tmp_path / "cache", "cached")
    os.link(tmp_path / "cache", tmp_path / "result")
    write_text(tmp_path / "result", "new")
    assert (tmp_path / "cache").read_text() == "cached"


def test_equal_content_is_equal_bytes() -> None:
    assert to_json({"b": 1, "a": [1.5, None]}) == to_json({"a": [1.5, None], "b": 1})
    assert to_json({"a": 1}) == '{\n  "a": 1\n}\n'
    assert sha256_json({"b": 1, "a": 2}) == sha256_json({"a": 2, "b": 1})


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_no_json_with_numbers_that_json_has_not(tmp_path: Path, value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "scores.json", {"miou": value})
    assert list(tmp_path.iterdir()) == []


def test_reading_what_is_not_there_names_the_verb(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"plan\.json: not there; `isoclock plan` makes it"):
        read_json(tmp_path / "plan.json", made_by="plan")


@pytest.mark.parametrize("content", [b'{"a": ', b"\xff\xfe", b"", b"[" * 100_000, b"9" * 5000], ids=range(5))
def test_reading_what_is_broken_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "plan.json").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"not valid JSON .* run `isoclock plan` again"):
        read_json(tmp_path / "plan.json", made_by="plan")


def test_write_if_changed_leaves_the_time_alone(tmp_path: Path) -> None:
    path = tmp_path / "stamp.json"
    assert write_if_changed(path, "one")
    os.utime(path, (1, 1))
    assert not write_if_changed(path, "one")
    assert path.stat().st_mtime == 1
    assert write_if_changed(path, "two")
    assert path.read_text() == "two"


def test_a_file_that_is_no_text_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "stamp.json"
    path.write_bytes(b"\xff\xfe")
    assert write_if_changed(path, "one")
    assert path.read_text() == "one"


def test_arrays_are_read_by_name_and_damage_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "confusion.npz"
    np.savez_compressed(path, total=np.arange(4), names=np.array(["a"]))
    names, total = read_arrays(path, "names", "total", made_by="evaluate")
    assert (names.tolist(), total.tolist()) == (["a"], [0, 1, 2, 3])
    whole = path.read_bytes()
    in_the_middle = whole[:60] + bytes(30) + whole[90:]
    for content in (whole[:-40], in_the_middle, b"", b"PK", np.arange(3).tobytes()):
        path.write_bytes(content)
        with pytest.raises(
            ArtifactError, match=r"confusion\.npz: cannot be read \(.+\); `isoclock evaluate` makes it$"
        ):
            read_arrays(path, "names", "total", made_by="evaluate")


def test_sha256_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_file(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file_is_not_opened(tmp_path: Path, kind: str) -> None:
    path = put(tmp_path / "record.json", kind)
    line = f"{path}: it is {kind}, not a file; remove it, or put the file there"
    for read in (sha256_file, partial(read_json, made_by="student")):
        with pytest.raises(NotAFile) as caught:
            read(path)
        assert caught.value.problems == [line]
        assert caught.value.strerror == f"it is {kind}, not a file"


def test_a_link_to_a_file_is_a_file(tmp_path: Path) -> None:
    put(tmp_path / "file", "a file")
    (tmp_path / "link").symlink_to("file")
    assert read_json(tmp_path / "link", made_by="student") == {}
    with pytest.raises(FileNotFoundError):
        regular(tmp_path / "nothing")
