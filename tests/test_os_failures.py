"""What the system refuses is one line with the file and what to do; other errors stay faults of the program."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from safetensors import SafetensorError

from isoclock.errors import UserError
from isoclock.files import check_writable, write_text, written_atomically
from isoclock.os_failures import naming, os_failure, os_problem


def refused(code: int, *names: str | None) -> OSError:
    return OSError(code, os.strerror(code), *names)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (refused(errno.EROFS, "a"), "a: Read-only file system; make it writable, or work in a copy elsewhere"),
        (refused(errno.EDQUOT, "a"), "a: Disk quota exceeded; remove files there, or ask for a larger quota"),
        (refused(errno.EMFILE), "Too many open files; raise the limit (`ulimit -n 65536`), or take fewer workers"),
        (refused(errno.EXDEV, "a"), "a: Invalid cross-device link; check it, then run the same command again"),
        (
            SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
            "Error while serializing: I/O error: No space left on device (os error 28); make room",
        ),
        (FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"),
         "No usable temporary directory found in ['/tmp']; set TMPDIR to a folder that can be written"),
        (refused(errno.EIO, "a\nisoclock: b\udcff"),
         "a\\nisoclock: b\\udcff: Input/output error; the disk or the connection to it fails: check `dmesg`"),
    ],
)  # fmt: skip
def test_a_refusal_is_one_line(error: Exception, line: str) -> None:
    problem = os_problem(error)
    assert problem is not None
    assert problem.problems == [line]


def test_a_rename_is_reported_with_its_target(tmp_path: Path) -> None:
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    with pytest.raises(OSError) as caught:  # noqa: PT011
        (tmp_path / "folder").replace(tmp_path / "folder" / "inside" / "new")
    assert str(tmp_path / "folder" / "inside" / "new") in str(os_problem(caught.value))


@pytest.mark.parametrize(
    "error",
    [KeyError("No such file"), OSError("it is a pipe"), RuntimeError("no"), UserError("No space left on device")],
)
def test_other_errors_are_not_of_the_system(error: Exception) -> None:
    assert os_failure(error) is None


def test_a_library_that_hides_the_error_behind_another_one() -> None:
    error = OSError("needs a cache folder")
    error.__cause__ = refused(errno.EACCES, "/home/a/.cache")  # as matplotlib raises it
    problem = os_problem(error)
    assert problem is not None
    assert problem.problems[0].startswith("needs a cache folder; get permission")


def test_errors_get_the_name_of_the_file_that_is_written(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    for error in (refused(errno.ENOSPC), SafetensorError("I/O error: No space left on device (os error 28)")):
        with pytest.raises(OSError, match="No space left") as caught, written_atomically(path):
            raise error
        assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    with pytest.raises(FileNotFoundError) as gone, written_atomically(path) as temporary:
        temporary.unlink()
    assert gone.value.filename == str(path)
    with pytest.raises(FileNotFoundError) as source, written_atomically(path):
        (tmp_path / "source").read_bytes()
    assert source.value.filename == str(tmp_path / "source")
    assert not path.exists()


def test_only_errors_of_the_system_get_a_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no"), naming(tmp_path):
        raise ValueError("no")


def test_a_file_in_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("")
    with pytest.raises(OSError) as caught:  # noqa: PT011
        write_text(tmp_path / "results" / "a" / "b.json", "")
    assert "a file is where a folder is needed" in str(os_problem(caught.value))


def test_a_folder_is_checked_without_making_it(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())
    with pytest.raises(OSError, match="/proc/a"):
        check_writable(Path("/proc/a"))
