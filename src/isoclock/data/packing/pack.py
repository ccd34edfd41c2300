"""Packing in progress: samples are appended in order, and a journal records which are done.

The journal line of a sample is written after its pixels and contains the running SHA-256 of the files. After any
interruption the files are read again up to the last line whose digest matches; only later samples are decoded again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from isoclock.data.loading.pixels import Pixels
from isoclock.data.packing.verify import Storage, Verified
from isoclock.errors import DataError
from isoclock.labels import IGNORE

_BLOCK = 1 << 24
_LOCK = "lock"


def file_names(split: str, storage: str) -> dict[str, str]:
    """Names of a split's files in a prepared folder, its images stored `raw` or as `jpeg`. One without labels has no `labels`."""
    return {
        "images": f"{split}.images.{'u8' if storage == 'raw' else 'jpegs'}",
        "labels": f"{split}.labels.u8",
        "samples": f"{split}.samples.json",
    }


@dataclass(frozen=True)
class Packed:
    """The journal entry of a sample; `counts` has the number of pixels of each raw label value that occurs."""

    split: str
    name: str
    source: list[Any]  # identities of the files it is made from
    size: tuple[int, int]
    labelled: bool
    image_bytes: int
    counts: dict[str, int]
    rgb_sum: list[float]
    digests: dict[str, str]  # SHA-256 of the split's files up to this sample, by kind


class Packing:
    """Appends samples to the files of the splits; a context manager.

    `key` describes what is packed and how: an interrupted packing with another key is discarded. `expected` has (split,
    name, source) of every sample in order, `labels` the splits that have labelled samples. `done` has the samples that an
    interrupted packing left, verified. Raises DataError if another process is packing the same data set.
    """

    def __init__(
        self, out: Path, key: Any, expected: Sequence[tuple[str, str, list[Any]]], labels: set[str], storage: Storage
    ) -> None:
        self.out, self.work = out, out.parent / f".{out.name}.packing"
        self.new = self.work / "new"
        self.done: list[Packed] = []
        self._labels, self._storage = labels, storage
        self._files: dict[tuple[str, str], IO[bytes]] = {}
        self._digests: dict[tuple[str, str], Any] = {}
        self._lock = self._locked()
        try:
            self._open(key, expected)
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __enter__(self) -> Packing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        self._lock.close()

    def names(self, split: str) -> dict[str, str]:
        """Names of a split's files by kind."""
        return file_names(split, self._storage)

    def append(self, split: str, name: str, source: list[Any], sample: Verified) -> Packed:
        """Write a sample after the last one of its split."""
        image = sample.image if isinstance(sample.image, bytes) else _bytes(sample.image)
        self._write(split, "images", image)
        if split in self._labels:
            unlabelled = np.full(sample.size, IGNORE, np.uint8)
            self._write(split, "labels", _bytes(unlabelled if sample.label is None else sample.label))
        packed = Packed(
            split=split,
            name=name,
            source=source,
            size=sample.size,
            labelled=sample.label is not None,
            image_bytes=len(image),
            counts={str(raw): int(sample.raw_pixels[raw]) for raw in np.flatnonzero(sample.raw_pixels)},
            rgb_sum=sample.rgb_sum.tolist(),
            digests={kind: self._digests[split, kind].hexdigest() for kind in self._kinds(split)},
        )
        self._append("", "journal", json.dumps(packed.__dict__).encode() + b"\n")
        return packed

    def digest(self, split: str, kind: str) -> str:
        """SHA-256 of a whole file."""
        return str(self._digests[split, kind].hexdigest())

    def describe_files(self, split: str, packed: Sequence[Packed]) -> dict[str, Any]:
        """Names, lengths and digests of a split's files; what describes single samples is written to a separate file.

        This keeps the index small: Snakemake compares the content of inputs below 1 MB, and only the time of larger ones.
        """
        samples = {
            "names": [one.name for one in packed],
            "sizes": [list(one.size) for one in packed],
            "labelled": [one.labelled for one in packed],
            "image_bytes": [one.image_bytes for one in packed],
        }
        content = json.dumps(samples, sort_keys=True).encode() + b"\n"
        names = self.names(split)
        (self.new / names["samples"]).write_bytes(content)
        found = {}
        for kind in [kind for kind in names if (self.new / names[kind]).is_file()]:
            path = self.new / names[kind]
            digest = hashlib.sha256(content).hexdigest() if kind == "samples" else self.digest(split, kind)
            found[kind] = {"file": path.name, "bytes": path.stat().st_size, "sha256": digest}
        return found

    def publish(self) -> None:
        """Replace the old folder by the new one. Nothing can be appended after that."""
        for stream in self._files.values():
            os.fsync(stream.fileno())
        self._close()
        old = self.work / "old"
        if self.out.exists():
            shutil.rmtree(old, ignore_errors=True)
            self.out.replace(old)
        self.new.replace(self.out)
        self.discard()

    def discard(self) -> None:
        """Remove all files of the packing. Nothing can be appended after that."""
        self._close()  # before the files are removed: network file systems keep open files
        for path in self.work.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != _LOCK:
                path.unlink()
        self._lock.close()
        shutil.rmtree(self.work)

    def _close(self) -> None:
        for stream in self._files.values():
            stream.close()

    def _locked(self) -> IO[bytes]:
        self.work.mkdir(parents=True, exist_ok=True)
        lock = (self.work / _LOCK).open("wb")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise DataError(f"{self.out}: another process is packing it; wait for that process, or stop it") from None
        return lock

    def _open(self, key: Any, expected: Sequence[tuple[str, str, list[Any]]]) -> None:
        journal, header = self.work / "journal.jsonl", json.dumps(key, sort_keys=True).encode() + b"\n"
        lines = journal.read_bytes().split(b"\n")[:-1] if journal.is_file() else []
        if not lines or lines[0] + b"\n" != header:
            shutil.rmtree(self.new, ignore_errors=True)
            journal.write_bytes(header)
            lines = lines[:0]
        self.new.mkdir(exist_ok=True)
        for split in dict.fromkeys(split for split, _, _ in expected):
            for kind in self._kinds(split):
                path = self.new / self.names(split)[kind]
                path.touch()
                self._files[split, kind] = path.open("r+b", buffering=0)
                self._digests[split, kind] = hashlib.sha256()
        for line, (split, name, source) in zip(lines[1:], expected, strict=False):
            try:
                packed = Packed(**json.loads(line))
                same = (packed.split, packed.name, packed.source) == (split, name, source) and self._matches(packed)
            except (ValueError, TypeError, AttributeError, RecursionError):  # damaged: packed again from here
                same = False
            if not same:
                break
            self.done.append(packed)
        for stream in self._files.values():
            stream.truncate(stream.tell())
        kept = self._files["", "journal"] = journal.open("r+b", buffering=0)
        kept.seek(len(header) + sum(len(line) + 1 for line in lines[1 : 1 + len(self.done)]))
        kept.truncate()

    def _matches(self, packed: Packed) -> bool:
        found = {}
        height, width = packed.size
        for kind in self._kinds(packed.split):
            stream, digest = self._files[packed.split, kind], self._digests[packed.split, kind].copy()
            left, start = packed.image_bytes if kind == "images" else height * width, stream.tell()
            while left and (block := stream.read(min(left, _BLOCK))):
                digest.update(block)
                left -= len(block)
            found[kind] = start, digest
        if any(packed.digests.get(kind) != digest.hexdigest() for kind, (_, digest) in found.items()):
            for kind, (start, _) in found.items():
                self._files[packed.split, kind].seek(start)
            return False
        self._digests |= {(packed.split, kind): digest for kind, (_, digest) in found.items()}
        return True

    def _kinds(self, split: str) -> tuple[str, ...]:
        return ("images", "labels") if split in self._labels else ("images",)

    def _write(self, split: str, kind: str, content: bytes | memoryview) -> None:
        self._digests[split, kind].update(content)
        self._append(split, kind, content)

    def _append(self, split: str, kind: str, content: bytes | memoryview) -> None:
        view = memoryview(content)
        try:
            while view:
                view = view[self._files[split, kind].write(view) :]
        except OSError as error:
            raise DataError(
                f"{self.out}: cannot be written ({error.strerror}); fix that, then run `isoclock prepare` again to continue"
            ) from None


def _bytes(pixels: Pixels) -> memoryview:
    return memoryview(np.ascontiguousarray(pixels).data).cast("B")
