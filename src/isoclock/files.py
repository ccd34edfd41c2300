"""Atomic writing, reading and digests of the files that verbs exchange."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from isoclock.errors import ArtifactError
from isoclock.os_failures import naming

_BLOCK = 1 << 20
_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}


class NotAFile(ArtifactError, OSError):
    """A folder, FIFO, socket or device where a file is expected. `strerror` says which."""

    def __init__(self, path: Path, kind: str) -> None:
        super().__init__(f"{path}: it is {kind}, not a file; remove it, or put the file there")
        self.strerror = f"it is {kind}, not a file"


def regular(path: Path) -> Path:
    """`path`, if it is a file or a link to one. To be used before reading: to open a FIFO may take forever, to read a device too.

    Raises NotAFile for a folder, FIFO, socket or device, and FileNotFoundError if there is nothing.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise NotAFile(path, _KINDS.get(stat.S_IFMT(mode), "a device"))
    return path


@contextmanager
def written_atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; on success, fsync it and rename it to `path`; on failure, remove it.

    The suffix of `path` is kept, because some writers (NumPy, PIL) choose the format by it. Raises OSError that names `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.stem}."
    with naming(path, prefix):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
            _fsync_folder(path.parent)
        finally:
            with suppress(OSError):  # what prevents writing may prevent this too
                temporary.unlink()


def check_writable(folder: Path) -> None:
    """Raise OSError if no file can be made in a folder, or in the one that it will be made in: before hours of work."""
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.is_dir())
    with naming(folder, ".check."), tempfile.TemporaryFile(dir=there, prefix=".check.", buffering=0) as stream:
        stream.write(b"0")


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically."""
    with written_atomically(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write `content` to `path` atomically, as UTF-8."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically: keys sorted, indented, no NaN, so that equal content gives equal bytes."""
    write_text(path, to_json(content))


def to_json(content: Any) -> str:
    """The canonical JSON of `content` (sorted, indented, ends in a newline). Raises ValueError for NaN and infinity."""
    return json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n"


def read_json(path: Path, made_by: str) -> Any:
    """Read a JSON file that the verb `made_by` writes.

    Raises ArtifactError, naming that verb, if it is missing or invalid, and NotAFile (also an ArtifactError) as `regular` does.
    """
    try:
        return json.loads(regular(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"{path}: not there; `isoclock {made_by}` makes it") from None
    except (ValueError, RecursionError) as error:  # no JSON, no text, an integer of too many digits, too deep
        raise ArtifactError(f"{path}: not valid JSON ({error}); remove it and run `isoclock {made_by}` again") from None


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex. Raises OSError, also for a folder, FIFO, socket or device (NotAFile)."""
    digest = hashlib.sha256()
    with regular(path).open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def sha256_path(path: Path) -> str:
    """SHA-256 of a file as `sha256_file`; of a folder, that of a text with the line `<SHA-256>  <name>` for each file below it.

    Lines are sorted by name, which is relative to the folder, in UTF-8, with `/`. Files whose name or folder begins with a dot
    do not count. Raises OSError.
    """
    if not path.is_dir():
        return sha256_file(path)
    files = {file.relative_to(path): file for file in path.rglob("*") if file.is_file()}
    counted = sorted((name.as_posix().encode(), file) for name, file in files.items() if not _is_hidden(name))
    return hashlib.sha256(
        b"".join(sha256_file(file).encode() + b"  " + name + b"\n" for name, file in counted)
    ).hexdigest()


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def sha256_json(content: Any) -> str:
    """SHA-256 of the canonical JSON of `content`, as hex."""
    return hashlib.sha256(to_json(content).encode()).hexdigest()


def write_if_changed(path: Path, content: str) -> bool:
    """Write only if the content differs, so that the file's time changes only with its content. True if written."""
    if path.is_file() and path.read_bytes() == content.encode():
        return False
    write_text(path, content)
    return True


def read_arrays(path: Path, *names: str, made_by: str) -> list[Any]:
    """Arrays of an .npz file, by name. Raises ArtifactError, naming the verb `made_by`, if it is missing or damaged."""
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as stored:
            return [stored[name] for name in names]
    except Exception as error:  # NumPy, zipfile and zlib each raise their own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ArtifactError(f"{path}: cannot be read ({reason}); `isoclock {made_by}` makes it") from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _fsync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
