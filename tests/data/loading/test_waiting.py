"""No wait for a batch is endless: loaders that are frozen, or block in a read of a file that does not answer."""

from __future__ import annotations

import multiprocessing
import os
import re
import resource
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from isoclock.data.loading import limits, waiting
from isoclock.data.loading import stream as stream_module
from isoclock.data.loading.batches import Batches
from isoclock.data.loading.limits import check_machine, socket_folder
from isoclock.data.loading.stream import TrainingStream
from isoclock.data.loading.waiting import NoData, Stopped, stopped_by
from isoclock.data.packing.packed import PackedSplit
from isoclock.errors import UserError
from isoclock.runner.failures import as_user_error
from isoclock.runner.stop import StopSignal
from isoclock.scoring.predict import predict_split
from tiny_recipe import recipe


def stream(split: PackedSplit, **changes: Any) -> TrainingStream:
    arguments: dict[str, Any] = {
        "seed": 1,
        "batch": 2,
        "crop": (32, 48),
        "scale": (1.0, 1.0),
        "flip": 0.5,
        "colour": [{"transform": "Normalize"}],
    }
    return TrainingStream(split, **{**arguments, "iterations": 9, **changes})


class Silent:
    """A stream whose batch 3 does not come before `go_on`."""

    def __init__(self, split: PackedSplit, monkeypatch: pytest.MonkeyPatch, workers: int, timeout_s: float) -> None:
        self.reader, self.writer = os.pipe()
        made = Batches.__getitem__

        def blocked(batches: Batches, number: int) -> dict[str, Any]:
            if number == 3:
                os.read(self.reader, 1)
            return made(batches, number)

        if workers == 0:  # it reads from a file that does not answer
            monkeypatch.setattr(Batches, "__getitem__", blocked)
        before = set(multiprocessing.active_children())
        self.stream = iter(stream(split, workers=workers, timeout_s=timeout_s))
        for _ in range(3):
            next(self.stream)
        self.loaders = [int(process.pid or 0) for process in set(multiprocessing.active_children()) - before]
        for loader in self.loaders:  # its thread that hands over batches is frozen too
            os.kill(loader, signal.SIGSTOP)
            os.waitid(os.P_PID, loader, os.WSTOPPED | os.WNOWAIT)

    def go_on(self) -> None:
        os.write(self.writer, b"x")
        for loader in self.loaders:
            with suppress(ProcessLookupError):
                os.kill(loader, signal.SIGCONT)


@pytest.fixture(params=[0, 1])
def silent(
    request: pytest.FixtureRequest, train_split: PackedSplit, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Silent]:
    found = Silent(train_split, monkeypatch, request.param, timeout_s=1.5)
    yield found
    found.go_on()


def test_a_stop_signal_ends_the_wait_and_nothing_is_lost(
    silent: Silent, train_split: PackedSplit, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent.stream._source._timeout_s = 60.0  # type: ignore[union-attr]
    with StopSignal() as stop, stopped_by(lambda: stop.reason is not None):
        began = time.monotonic()
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
        with pytest.raises(Stopped):
            next(silent.stream)
        assert 0.1 < time.monotonic() - began < 3  # half a second, and what a busy machine adds
    silent.go_on()
    after = [made["index"] for made in silent.stream]
    os.write(silent.writer, b"x")  # for batch 3 of the next stream
    expected = [made["index"] for made in stream(train_split)][3:]
    assert torch.equal(torch.stack(after), torch.stack(expected))


def test_a_wait_is_reported_once_and_has_an_end(
    silent: Silent, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(waiting, "REPORT_AFTER_S", 0.1)
    with pytest.raises(UserError) as caught, as_user_error("student", lambda: "method kd"):
        next(silent.stream)
    origin = silent.stream._source._origin  # type: ignore[union-attr]
    assert all(str(loader) in origin for loader in silent.loaders)
    line = rf"isoclock: no data for \d s from {re.escape(origin)}; waiting for up to 1\.5 s \(loader_timeout_s\)\n"
    assert re.fullmatch(line, capsys.readouterr().err)
    assert caught.value.problems == [
        f"student: no data for 1.5 s from {origin} (method kd); check the data's file system, or raise loader_timeout_s "
        "(params/training.yaml); the same command continues from the last checkpoint"
    ]


def test_a_wait_for_an_image_to_score_has_an_end_but_no_stop_ends_it(
    train_split: PackedSplit, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    monkeypatch.setattr(PackedSplit, "image", lambda *_: os.read(reader, 1))
    slow = recipe(loader_timeout_s=0.6, colour=[{"transform": "Normalize"}])
    with stopped_by(lambda: True), pytest.raises(NoData, match=r"no data for 0\.6 s from this process, which scores"):
        predict_split(torch.nn.Identity(), train_split, slow, 19, torch.device("cpu"))
    os.close(writer)


@pytest.fixture
def long_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """TMPDIR is a folder whose path is too long for sockets."""
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.delitem(multiprocessing.current_process()._config, "tempdir", raising=False)  # type: ignore[attr-defined]
    return str(folder)


@pytest.mark.usefixtures("long_folder")
def test_batches_come_although_tmpdir_is_long(train_split: PackedSplit) -> None:
    one, other = (list(stream(train_split, workers=workers)) for workers in (0, 1))
    assert torch.equal(torch.stack([made["images"] for made in one]), torch.stack([made["images"] for made in other]))


def test_a_long_tmpdir_without_a_shorter_folder_is_one_line(long_folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert socket_folder() == "/tmp"
    monkeypatch.setattr(limits, "_SHORT_FOLDERS", ())
    with pytest.raises(UserError, match=rf"^TMPDIR: {long_folder}: \d+ bytes, .* allow 75; set it to a shorter folder"):
        check_machine(1, 100)
    check_machine(0, 100)


def test_a_batch_that_cannot_be_sent_is_an_error_at_once(
    train_split: PackedSplit, long_folder: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stream_module, "socket_folder", lambda: long_folder)
    with (
        pytest.raises(
            UserError, match=r"^student: a loader process cannot go on: AF_UNIX path too long \(method kd\); see"
        ),
        as_user_error("student", lambda: "method kd"),
    ):
        next(stream(train_split, workers=1))
    assert capfd.readouterr().err == ""


def test_a_loader_process_without_open_files_is_an_error_at_once(
    train_split: PackedSplit, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    made = Batches.__getitem__

    def last_one(batches: Batches, number: int) -> dict[str, Any]:
        batch = made(batches, number)
        if number == 2:
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        return batch

    monkeypatch.setattr(Batches, "__getitem__", last_one)
    with (
        pytest.raises(UserError, match=r"^student: (too many open files|loader process \d+ exited)"),
        as_user_error("student", lambda: "method kd"),
    ):
        list(stream(train_split, workers=1))
    # It depends on whether the thread that makes connections or the one that sends batches meets the limit first.
    assert re.fullmatch(r"(isoclock: loader process \d+: \[Errno 24\] Too many open files\n)?", capfd.readouterr().err)


def test_the_limit_of_open_files_is_raised_or_named() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        for spare in (0, 8):  # with none, the open files cannot even be counted
            allowed = len(list(Path("/dev/fd").iterdir())) - 1 + spare
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
            check_machine(2, 100)
            assert 50 < resource.getrlimit(resource.RLIMIT_NOFILE)[0] - allowed < 400
        with pytest.raises(
            UserError, match=rf"^limit of open files: {hard}, and 99999999 loader processes need \d+; raise"
        ):
            check_machine(99_999_999, 0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.skipif(not limits.SHARED_MEMORY.is_dir(), reason="needs /dev/shm")
def test_too_little_shared_memory_is_one_line() -> None:
    with pytest.raises(
        UserError, match=r"^/dev/shm: [\d.]+ MiB are free, and 3 loader processes need at least 4\d+\.0 MiB"
    ):
        check_machine(3, 1 << 50)
